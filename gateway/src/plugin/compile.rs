//! From the bytes of a module to code that is ready to run.
//!
//! In: bytes that nobody trusts. Out: a [`Compiled`] plugin, known by the hash of its bytes. Compiling takes a hundred
//! milliseconds and more, so what came of it is kept on disk for the next start. That file is code that runs in our process: it is
//! taken only from a folder that nobody else may write to, and only when it is whole; otherwise it is made anew.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gatewright_abi::export;
use wasmtime::{ExternType, InstancePre, Linker, Module};

use super::body;
use super::check::{self, Interface};
use super::engine::Engine;
use super::fault::LoadError;
use super::guest::Guest;
use super::imports;
use crate::vault::Vault;

/// The largest module that is looked at.
pub const MODULE_SIZE: u64 = 16 * 1024 * 1024;
/// Compiled modules that are kept on disk.
const KEPT: usize = 64;
const MAGIC: &[u8; 8] = b"gwcache2";
const ENDING: &str = ".gwc";
/// The largest file with compiled code that is read.
const CODE_SIZE: u64 = 512 << 20;

/// The hash of a module's bytes: the name of a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A module, compiled and looked at.
pub struct Compiled {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: usize,
    /// What it offers and wants.
    pub interface: Arc<Interface>,
    /// Whether it came from the cache.
    pub cached: bool,
    /// Whether it wants to know what became of requests.
    pub(super) listens: bool,
    pub(super) pre: InstancePre<Guest>,
}

/// Compiles.
pub struct Compiler {
    engine: Arc<Engine>,
    linker: Linker<Guest>,
    cache: Option<Cache>,
    /// Those that are in use: a version that comes back runs the code that is there.
    used: Mutex<HashMap<Digest, Weak<Compiled>>>,
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hash = [0; 32];
        let whole = digest(&SHA256, bytes);
        hash.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(hash)
    }

    /// One that is known already.
    pub fn known(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// As it is.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Enough of it to tell versions apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Compiler {
    /// With this engine; compiled code is kept in the folder, if there is one.
    pub fn new(engine: Arc<Engine>, cache: Option<&Path>) -> Result<Compiler, LoadError> {
        let linker = imports::linker(engine.wasm())?;
        let mut hasher = DefaultHasher::new();
        engine.wasm().precompile_compatibility_hash().hash(&mut hasher);
        let cache = cache.map(|folder| Cache { folder: folder.to_owned(), engine: hasher.finish() });
        Ok(Compiler { engine, linker, cache, used: Mutex::default() })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Compiles a module, or takes it from where it is used or kept, and looks whether it is a plugin. `memory`: what it may begin
    /// with.
    pub fn compile(&self, bytes: &[u8], memory: u64) -> Result<Arc<Compiled>, LoadError> {
        let size = bytes.len() as u64;
        if size > MODULE_SIZE {
            return Err(LoadError::TooLarge { size, most: MODULE_SIZE });
        }
        if bytes.starts_with(b"\0asm\x0d\0\x01\0") {
            return Err(LoadError::Component);
        }
        // The text format is not for production, and its parser not for strangers' bytes.
        if !bytes.starts_with(b"\0asm") {
            return Err(LoadError::Invalid("it does not begin like one".to_owned()));
        }
        let digest = Digest::of(bytes);
        if let Some(used) = self.used().get(&digest).and_then(Weak::upgrade) {
            check::interface(used.pre.module(), memory)?;
            return Ok(used);
        }
        let kept = self.cache.as_ref().and_then(|cache| cache.read(&digest, self.engine.wasm()));
        let cached = kept.is_some();
        let module = match kept {
            Some(module) => module,
            None => self.translate(bytes, &digest)?,
        };
        let interface = Arc::new(check::interface(&module, memory)?);
        let pre = self.linker.instantiate_pre(&module).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let imported = module.imports().filter(|import| matches!(import.ty(), ExternType::Func(_))).count();
        let listens = !body::is_empty(bytes, export::OUTCOME, imported);
        let compiled = Arc::new(Compiled { digest, size: bytes.len(), interface, cached, listens, pre });
        let mut used = self.used();
        used.retain(|_, used| used.strong_count() > 0);
        used.insert(digest, Arc::downgrade(&compiled));
        Ok(compiled)
    }

    /// The same on a thread of its own, which is waited for so long. Nobody can interrupt it: it goes on until it is done, or until
    /// the process ends.
    pub fn compile_within(
        self: &Arc<Self>,
        most: Duration,
        module: Vec<u8>,
        memory: u64,
    ) -> Result<Arc<Compiled>, LoadError> {
        let (compiler, (done, made)) = (self.clone(), mpsc::sync_channel(1));
        let work = move || {
            // Whoever waited may have gone.
            let _ = done.send(compiler.compile(&module, memory));
        };
        let thread = std::thread::Builder::new().name("compiler".into()).spawn(work);
        thread.map_err(|error| LoadError::Engine(format!("no thread for its compiler: {error}")))?;
        match made.recv_timeout(most) {
            Ok(made) => made,
            Err(RecvTimeoutError::Timeout) => Err(LoadError::Late(most)),
            Err(RecvTimeoutError::Disconnected) => Err(LoadError::Cut),
        }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Compiled>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn translate(&self, bytes: &[u8], digest: &Digest) -> Result<Module, LoadError> {
        let module = Module::from_binary(self.engine.wasm(), bytes);
        let module = module.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        if let Some(cache) = &self.cache
            && let Err(error) = module.serialize().map_err(io::Error::other).and_then(|code| cache.write(digest, &code))
        {
            tracing::warn!(folder = %cache.folder.display(), %error, "compiled plugins cannot be kept");
        }
        Ok(module)
    }
}

/// Compiled code on disk: magic, hash of the file's name and the code, code.
struct Cache {
    folder: PathBuf,
    /// Engine, its settings and the processor's features.
    engine: u64,
}

impl Cache {
    fn name(&self, digest: &Digest) -> String {
        format!("{digest}-{:016x}{ENDING}", self.engine)
    }

    fn read(&self, digest: &Digest, engine: &wasmtime::Engine) -> Option<Module> {
        let name = self.name(digest);
        let bytes = match Vault::open(&self.folder).and_then(|vault| vault.read(&name, CODE_SIZE)) {
            Ok(bytes) => bytes?,
            // At the first start there is no folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, name, %error, "a compiled plugin is not taken and is made anew");
                return None;
            }
        };
        let code = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(32));
        // Damage is found here; the rights of folder and file keep others from making one that fits.
        let Some((_, code)) = code.filter(|(hash, code)| seal(&name, code) == **hash) else {
            tracing::warn!(folder = %self.folder.display(), name, "a compiled plugin is damaged and is made anew");
            return None;
        };
        // SAFETY: the bytes are what `serialize` gave to an engine like this one, unharmed, out of a file and folder that only
        // this user can write.
        #[allow(unsafe_code)]
        let module = unsafe { Module::deserialize(engine, code) };
        module.map_err(|error| tracing::warn!(name, %error, "a compiled plugin does not fit and is made anew")).ok()
    }

    fn write(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        let vault = Vault::make(&self.folder)?;
        let name = self.name(digest);
        vault.write(&name, &[&MAGIC[..], &seal(&name, code), code].concat())?;
        vault.prune(ENDING, KEPT)
    }
}

/// The hash of code under its name: code of another module, engine or processor does not become that of this one by being
/// moved.
fn seal(name: &str, code: &[u8]) -> [u8; 32] {
    Digest::of(&[name.as_bytes(), code].concat()).0
}

#[cfg(test)]
mod tests;
