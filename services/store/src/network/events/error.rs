//! What Kafka's errors mean to a caller.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use crate::events::check::failure;
use crate::{ErrorKind, StoreError};

/// What the client said about its connections.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) at: Instant,
}

/// The error of a call. What the client said last explains one that says only that time is up.
pub(super) fn failed(call: &'static str, error: KafkaError, said: Option<Said>) -> StoreError {
    let code = code_of(&error);
    let kind = code.map_or(ErrorKind::Internal, kind_of);
    let explains = matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable);
    match said.filter(|_| explains) {
        Some(said) => {
            let kind = match kind_of(said.code) {
                // A write that timed out may have happened, whatever else is wrong by now.
                ErrorKind::Unavailable if code == Some(Code::MessageTimedOut) => ErrorKind::Timeout,
                ErrorKind::Internal => kind,
                better => better,
            };
            failure(call, kind, format!("Kafka: {error}; {}", said.reason)).caused_by(Box::new(error))
        }
        None => failure(call, kind, format!("Kafka: {error}")).caused_by(Box::new(error)),
    }
}

impl StoreError {
    /// The same error, with where the server was looked for.
    pub(super) fn at(mut self, brokers: &str) -> Self {
        self.detail = format!("cannot use Kafka at {brokers}: {}; is it started?", self.detail);
        self
    }
}

/// Whether the client gets over an error by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    !matches!(error, KafkaError::MessageConsumptionFatal(_))
        && code_of(error).is_some_and(|code| matches!(kind_of(code), ErrorKind::Unavailable | ErrorKind::Timeout))
}

pub(super) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

pub(super) fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            ErrorKind::Timeout
        }
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::QueueFull
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::WaitingForCoordinator
        | Code::State => ErrorKind::Unavailable,
        Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress | Code::AssignmentLost => {
            ErrorKind::Conflict
        }
        Code::MessageSizeTooLarge => ErrorKind::TooLarge,
        Code::InvalidArgument | Code::InvalidConfig | Code::InvalidTopic | Code::InvalidPartitions => {
            ErrorKind::Invalid
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    }
}
