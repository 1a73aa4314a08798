//! Questions about what happened: reports over the event lake and the log's unflushed tail.
