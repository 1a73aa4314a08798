//! Sentiment: answers, labelled data, training and evaluation.
