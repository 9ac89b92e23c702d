//! Compiles packages to bytecode, in the sandbox: the interpreter that will import them is the one that knows its bytecode.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::NoProgress;
use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::packages::Compile;
use crate::sandbox::{Entry, GuestFile, Sandbox, SandboxLimits, SandboxSpec};

/// Runs inside: every file of the packages, to `/out` under the same path.
const PROGRAM: &str = r#"
import os, py_compile
for folder, folders, files in os.walk("/packages"):
    inside = os.path.relpath(folder, "/packages")
    for name in files:
        if not name.endswith(".py"):
            continue
        path = os.path.join(folder, name)
        target = os.path.normpath(os.path.join("/out", inside, "__pycache__", name[:-3] + ".cpython-314.pyc"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            py_compile.compile(path, cfile=target, dfile=path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        except (py_compile.PyCompileError, SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            pass
"#;

/// The compiler.
pub(super) struct Bytecode {
    pub(super) sandbox: Arc<dyn Sandbox>,
}

#[async_trait]
impl Compile for Bytecode {
    async fn compile(&self, files: &[(String, Arc<[u8]>)], cancel: &CancellationToken) -> Result<Vec<(String, Arc<[u8]>)>, Fault> {
        let defaults = SandboxLimits::default();
        let spec = SandboxSpec {
            packages: files.iter().map(|(path, bytes)| GuestFile { path: path.clone(), bytes: bytes.clone() }).collect(),
            limits: SandboxLimits { wall: Millis(300_000), memory: Bytes(512 << 20), disk: Bytes(256 << 20), files: 40_000, ..defaults },
            // The call that asked for the packages holds no guest yet, but one that a program made has its program waiting.
            nested: true,
            ..SandboxSpec::new(Entry::Code(PROGRAM.to_owned()))
        };
        let outcome = self.sandbox.run(spec, cancel.clone(), Arc::new(NoProgress)).await?;
        if outcome.return_code != 0 {
            return Err(Fault::new(ErrorCode::SandboxFailed, format!("packages could not be compiled: {}", outcome.stderr.text())));
        }
        Ok(outcome.files.into_iter().map(|file| (file.path, file.bytes.into())).collect())
    }
}
