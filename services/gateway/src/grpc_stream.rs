//! Bidirectional streams: answers in the order of the questions, a bounded number of them in work.
//!
//! While that number is reached the incoming half is not polled, HTTP/2's window stays shut, and the client waits: back
//! pressure needs no queue of its own. Items are futures of this one stream, not tasks, so dropping the stream cancels
//! everything it has asked for.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc, task::Poll, time::Instant};

use attune_api::{ApiError, dialect};
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Response, Status, Streaming};

use crate::{
    admission::{self, Call},
    app::App,
    errors,
};

/// The answering half of a stream.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers every item of `questions` by `answer`.
///
/// The stream ends with `UNAVAILABLE` when the server drains, after the items in work; with `DEADLINE_EXCEEDED` at the
/// caller's deadline, at once; with the status of a question that could not be read, after the ones before it.
pub(crate) fn open<Q, A, F>(
    app: &App,
    call: &Call,
    questions: Streaming<Q>,
    answer: impl Fn(Q) -> F + Send + 'static,
) -> Result<Response<Answers<A>>, ApiError>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = A> + Send + 'static,
{
    let place = Arc::clone(&app.streams).try_acquire_owned();
    let place = place.map_err(|_| admission::full("open streams", app.config.requests.streams_max))?;
    let draining = dialect::grpc_status(&errors::draining(), Some(&call.id.0));
    let overdue = dialect::grpc_status(&errors::deadline_passed(), Some(&call.id.0));

    let id = Arc::clone(&call.id.0);
    let questions = questions.map(move |question| {
        let ours = |status: Status| match errors::from_grpc(&status) {
            Some(error) => dialect::grpc_status(&error, Some(&id)),
            None => status,
        };
        question.map_err(ours)
    });
    let questions = cut(questions, drained(app.draining.clone()).map(|()| Err(draining)));
    let answers = questions
        .map(move |question| match question {
            Ok(question) => answer(question).map(Ok).left_future(),
            Err(status) => std::future::ready(Err(status)).right_future(),
        })
        .buffered(app.config.requests.stream_in_flight_max);
    let mut answers = Box::pin(cut(answers, passed(call.callers_deadline()).map(|()| Err(overdue))));
    let answers = stream::poll_fn(move |cx| {
        // The stream's place among the open ones is given back when the stream is dropped.
        let _place = &place;
        answers.as_mut().poll_next(cx)
    });
    Ok(Response::new(Box::pin(answers)))
}

/// Makes the answer of one item. A panic costs the item, not the stream.
pub(crate) async fn settle<T, A>(
    work: impl Future<Output = Result<T, ApiError>>,
    answer: impl FnOnce(Result<T, ApiError>) -> A,
) -> A {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    answer(outcome.unwrap_or_else(|_| {
        tracing::error!("an item of a stream panicked");
        Err(ApiError::internal())
    }))
}

/// `items` until `stop`, whose outcome is then the last item.
pub(crate) fn cut<S: Stream>(items: S, stop: impl Future<Output = S::Item>) -> impl Stream<Item = S::Item> {
    let mut items = Box::pin(items);
    let mut stop = Box::pin(stop.fuse());
    let mut is_over = false;
    stream::poll_fn(move |cx| {
        if is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(last) = stop.as_mut().poll(cx) {
            is_over = true;
            return Poll::Ready(Some(last));
        }
        items.as_mut().poll_next(cx)
    })
}

/// Completes when the server is told to stop.
pub(crate) async fn drained(mut draining: watch::Receiver<bool>) {
    if draining.wait_for(|is_draining| *is_draining).await.is_err() {
        // The server is gone without a word; the connection will say so.
        std::future::pending::<()>().await;
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cut_stream_ends_with_the_reason() {
        let never = cut(stream::iter([1, 2]), std::future::pending());
        assert_eq!(never.collect::<Vec<_>>().await, [1, 2]);
        let at_once = cut(stream::iter([1, 2]), std::future::ready(9));
        assert_eq!(at_once.collect::<Vec<_>>().await, [9]);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let work = async { if true { panic!("on purpose") } else { Ok(()) } };
        let error = settle(work, |outcome| outcome.unwrap_err()).await;
        assert_eq!(error, ApiError::internal());
    }
}
