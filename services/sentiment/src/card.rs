//! The model card: what the adapter is, how good it is, and how to make it again.

use std::fmt::Write;

use attune_inference::train::Recipe;

use crate::evaluate::Evaluation;
use crate::train::{TrainOptions, TrainReport};

/// The card of a finished run, in Markdown with the front matter that model hubs read.
pub fn card(options: &TrainOptions, report: &TrainReport) -> String {
    let TrainOptions { base_name, seed, command, .. } = options;
    let mut card = format!(
        "---\n\
         base_model: {base_name}\n\
         library_name: peft\n\
         license: apache-2.0\n\
         language: en\n\
         pipeline_tag: text-classification\n\
         ---\n\n\
         # Sentiment of English sentences\n\n\
         A LoRA adapter and a linear head over the mean-pooled tokens of {base_name}: negative, neutral or positive.\n\
         Written by `{command}` with seed {seed}; that command writes it again.\n\n\
         ## Figures\n\n\
         Of this file as it is served in f32, standard errors in brackets. Strong: among sentences rated -0.5 and less\n\
         or 0.5 and more, whether positive outranks negative exactly where people were positive. All choices were\n\
         made on dev; this run looked at test once, at its end.\n\n"
    );
    table(&mut card, &report.dev);
    table(&mut card, &report.test);
    training(&mut card, options, report);
    card
}

fn table(card: &mut String, evaluation: &Evaluation) {
    let head =
        format!("| {} | sentences | strong | three classes | macro-F1 |\n|---|---|---|---|---|\n", evaluation.part);
    card.push_str(&head);
    let sources = evaluation.report.sources.iter().map(|(source, figures)| (source.as_str(), figures));
    for (name, figures) in sources.chain([("all", &evaluation.report.all)]) {
        let (strong, three, count) = (figures.strong, figures.three_classes, figures.three_classes.count);
        write_line(card, format_args!("| {name} | {count} | {strong} | {three} | {:.3} |", figures.macro_f1));
    }
    card.push('\n');
}

fn training(card: &mut String, options: &TrainOptions, report: &TrainReport) {
    let Recipe { rank, alpha, learning_rate, warmup_share, epochs, batch_texts, .. } = &options.recipe;
    let Recipe { weight_decay, label_smoothing, dropout, averaging, gradient_norm_max, .. } = &options.recipe;
    let TrainReport { steps, best_step, seconds, test, .. } = report;
    card.push_str("## Training\n\n");
    write_line(
        card,
        format_args!("- LoRA of rank {rank}, alpha {alpha}, on every linear layer of the encoder; all else is frozen"),
    );
    write_line(
        card,
        format_args!(
            "- AdamW, learning rate {learning_rate} after {:.0}% warm-up, then a cosine to 0; weight decay {weight_decay}",
            100.0 * warmup_share
        ),
    );
    write_line(
        card,
        format_args!("- {epochs} passes, batches of {batch_texts}, gradients clipped to norm {gradient_norm_max}"),
    );
    write_line(card, format_args!("- label smoothing {label_smoothing}, dropout {dropout}"));
    write_line(card, format_args!("- the parameters kept are a running average: each step keeps {averaging} of it"));
    write_line(
        card,
        format_args!(
            "- targets are the probabilities of the classes if the rating, asked for again, had deviation {}",
            options.rating_error
        ),
    );
    write_line(
        card,
        format_args!("- seed {}; {steps} steps in {seconds:.0} s, best on dev after {best_step}", options.seed),
    );
    card.push_str("\n## Data\n\n");
    card.push_str(
        "Sentences of film reviews, tweets, product reviews and editorials, each rated from -4 to 4 by 20 people\n\
         (Hutto and Gilbert, ICWSM 2014; MIT licence). A mean of -0.5 and less is negative, of 0.5 and more positive.\n\
         The part is the FNV-1a hash of file and document modulo 10: 0 is test, 1 is dev, the rest train.\n\n",
    );
    write_line(card, format_args!("SHA-256 over the four files: `{}`", test.data_sha256));
    card.push_str(
        "\n## Limits\n\n\
         English only, single sentences; the longer the text, the less its one label says. Sentences near the border of\n\
         neutral are divided among people too. It knows nothing of irony that the words do not show.\n",
    );
}

fn write_line(card: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(card, "{line}").expect("a string takes all that is written to it");
}
