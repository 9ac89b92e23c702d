//! The one list of error codes. Each has a page `docs/errors/CODE.md`; a test holds both to each other.

/// Who an error is written for, and so how much of it leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The agent: it can mend the call, so it gets message and hint whole.
    Model,
    /// The agent, told that and why policy refused, but never a rule's text.
    Policy,
    /// The operator: the agent only learns that the fault is not its own.
    Internal,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal, $reader:ident;)+) => {
        /// A stable word that names a kind of failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorCode {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it stands in replies, events and file names.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// For whom errors of this code are written.
            #[must_use]
            pub fn reader(self) -> Reader {
                match self { $(Self::$variant => Reader::$reader,)+ }
            }

            /// The code of a word, if it is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    /// No tool of that name is registered.
    UnknownTool = "UNKNOWN_TOOL", Model;
    /// The arguments do not fit the tool's input schema.
    InvalidInput = "INVALID_INPUT", Model;
    /// The tool's answer does not fit its own output schema.
    InvalidOutput = "INVALID_OUTPUT", Internal;
    /// Policy refused the call.
    PolicyDenied = "POLICY_DENIED", Policy;
    /// The policy files do not load.
    PolicyInvalid = "POLICY_INVALID", Internal;
    /// A human must say yes before this exact call may run.
    ApprovalRequired = "APPROVAL_REQUIRED", Policy;
    /// A human said no to this exact call.
    ApprovalDenied = "APPROVAL_DENIED", Policy;
    /// Too many questions were put to humans; the run asks no more until the operator releases it.
    ApprovalsPaused = "APPROVALS_PAUSED", Policy;
    /// No approval of that id is waiting.
    UnknownApproval = "UNKNOWN_APPROVAL", Model;
    /// The operator's passphrase is missing or wrong.
    OperatorLocked = "OPERATOR_LOCKED", Model;
    /// No run of that id belongs to the caller.
    UnknownRun = "UNKNOWN_RUN", Model;
    /// The run has no such step, or the step is not waiting for what was sent.
    StepNotWaiting = "STEP_NOT_WAITING", Model;
    /// A run is in a state that does not allow what was asked.
    RunState = "RUN_STATE", Model;
    /// No workflow of that name.
    UnknownWorkflow = "UNKNOWN_WORKFLOW", Model;
    /// A workflow file is wrong.
    WorkflowInvalid = "WORKFLOW_INVALID", Model;
    /// An expression in a workflow cannot be evaluated.
    ExpressionInvalid = "EXPRESSION_INVALID", Model;
    /// No channel took a message.
    NotifyFailed = "NOTIFY_FAILED", Model;
    /// The checks of an eval step did not pass.
    EvalFailed = "EVAL_FAILED", Model;
    /// A tool manifest is wrong.
    ManifestInvalid = "MANIFEST_INVALID", Internal;
    /// A JSON Schema is wrong or out of bounds.
    SchemaInvalid = "SCHEMA_INVALID", Internal;
    /// A path is absolute, leaves its folder, or passes a link.
    PathRefused = "PATH_REFUSED", Model;
    /// A file or folder does not exist.
    NotFound = "NOT_FOUND", Model;
    /// Something is larger or more numerous than its limit.
    LimitExceeded = "LIMIT_EXCEEDED", Model;
    /// A run or a principal has used up what it may.
    BudgetExceeded = "BUDGET_EXCEEDED", Model;
    /// The run's workflow does not declare the tool.
    ToolNotDeclared = "TOOL_NOT_DECLARED", Policy;
    /// The client has to answer the tool's questions and make the call again.
    InputRequired = "INPUT_REQUIRED", Model;
    /// The tool must ask the client something that it did not say it can answer.
    ClientCapability = "CLIENT_CAPABILITY", Model;
    /// The call took longer than its wall time.
    Timeout = "TIMEOUT", Model;
    /// The call was cancelled.
    Cancelled = "CANCELLED", Model;
    /// The process that ran the call ended before the call did.
    Interrupted = "INTERRUPTED", Model;
    /// The sandbox, or a layer of it, is missing, so the tool cannot run.
    SandboxUnavailable = "SANDBOX_UNAVAILABLE", Model;
    /// The sandbox failed in a way the guest did not cause.
    SandboxFailed = "SANDBOX_FAILED", Internal;
    /// A host, address, scheme or redirect that the call may not reach.
    EgressDenied = "EGRESS_DENIED", Model;
    /// A native program is neither on the machine nor in the packages of the call.
    ProgramNotFound = "PROGRAM_NOT_FOUND", Model;
    /// A host that does not exist, does not answer, or answers wrongly.
    EgressFailed = "EGRESS_FAILED", Model;
    /// The packages asked for cannot be resolved.
    RequirementsUnresolved = "REQUIREMENTS_UNRESOLVED", Model;
    /// A package has no wheel that the sandbox can use.
    RequirementRefused = "REQUIREMENT_REFUSED", Model;
    /// The machine has neither uv nor pip.
    InstallerUnavailable = "INSTALLER_UNAVAILABLE", Model;
    /// A program that goes on after an interruption does not do what it did before.
    ReplayDiverged = "REPLAY_DIVERGED", Model;
    /// No artifact of that digest is stored.
    UnknownArtifact = "UNKNOWN_ARTIFACT", Model;
    /// The folder is not a repository, or not one that can be worked on.
    GitRepository = "GIT_REPOSITORY", Model;
    /// The repository's own configuration asks for something that is not allowed.
    GitConfigUntrusted = "GIT_CONFIG_UNTRUSTED", Model;
    /// The vault holds no secret of that name for this use.
    UnknownSecret = "UNKNOWN_SECRET", Model;
    /// A secret may not go where it was to go.
    SecretRefused = "SECRET_REFUSED", Model;
    /// The vault's key is missing, refused or the wrong one.
    VaultLocked = "VAULT_LOCKED", Internal;
    /// What the vault holds was damaged or changed.
    VaultBroken = "VAULT_BROKEN", Internal;
    /// There is nothing to commit.
    GitNothingToCommit = "GIT_NOTHING_TO_COMMIT", Model;
    /// A jq filter does not compile or fails on its input.
    FilterFailed = "FILTER_FAILED", Model;
    /// No drive provider of that name is configured, or it does not answer.
    DriveUnavailable = "DRIVE_UNAVAILABLE", Model;
    /// Nobody is logged in to the drive, or the login has ended.
    DriveLoginRequired = "DRIVE_LOGIN_REQUIRED", Model;
    /// The drive takes no more for now: a rate, a quota or its room is used up.
    DriveLimited = "DRIVE_LIMITED", Model;
    /// The drive does not allow it, or asks for more rights than were given.
    DriveRefused = "DRIVE_REFUSED", Model;
    /// The effect may or may not have happened; its outcome could not be recorded.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Internal;
    /// The database cannot be read or written.
    StoreFailed = "STORE_FAILED", Internal;
    /// The disk, or the room that toolgate may take on it, is full.
    StorageFull = "STORAGE_FULL", Model;
    /// The database was written by a newer version.
    StoreTooNew = "STORE_TOO_NEW", Internal;
    /// The log does not verify.
    AuditBroken = "AUDIT_BROKEN", Internal;
    /// The audit key is missing, or could be read or was put there by somebody else.
    AuditKeyRefused = "AUDIT_KEY_REFUSED", Internal;
    /// Checkpoints do not reach the witness.
    WitnessUnreachable = "WITNESS_UNREACHABLE", Internal;
    /// Another process drives the run.
    LeaseLost = "LEASE_LOST", Internal;
    /// A request without a good token.
    Unauthenticated = "UNAUTHENTICATED", Model;
    /// The token does not reach so far.
    InsufficientScope = "INSUFFICIENT_SCOPE", Policy;
    /// A request that a page of another site, or another name of this machine, may have led here.
    RequestRefused = "REQUEST_REFUSED", Model;
    /// Settings are wrong.
    ConfigInvalid = "CONFIG_INVALID", Internal;
    /// A fault of toolgate itself.
    Internal = "INTERNAL", Internal;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_word(&word).ok_or_else(|| serde::de::Error::custom(format!("`{word}` is not an error code")))
    }
}
