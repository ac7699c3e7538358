//! From the bytes of a module to code that is ready to run.
//!
//! In: bytes that nobody trusts. Out: a [`Compiled`] plugin, known by the hash of its bytes. Compiling takes a hundred
//! milliseconds and more, so what came of it is kept on disk for the next start. That file is code that runs in our process: it is
//! taken only from a folder that nobody else may write to, and only when it is whole; otherwise it is made anew.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gatewright_abi::export;
use wasmtime::{ExternType, InstancePre, Linker, Module};

use super::body;
use super::check::{self, Interface};
use super::engine::Engine;
use super::fault::LoadError;
use super::guest::Guest;
use super::imports;

/// The largest module that is looked at.
pub const MODULE_SIZE: u64 = 16 * 1024 * 1024;
/// Compiled modules that are kept on disk.
const KEPT: usize = 64;
const MAGIC: &[u8; 8] = b"gwcache1";

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
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hash = [0; 32];
        let whole = digest(&SHA256, bytes);
        hash.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(hash)
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
        Ok(Compiler { engine, linker, cache })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Compiles a module, or takes it from the cache, and looks whether it is a plugin. `memory`: what it may begin with.
    pub fn compile(&self, bytes: &[u8], memory: u64) -> Result<Compiled, LoadError> {
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
        Ok(Compiled { digest, size: bytes.len(), interface, cached, listens, pre })
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

/// Compiled code on disk: magic, hash of what follows, code.
struct Cache {
    folder: PathBuf,
    /// Engine, its settings and the processor's features.
    engine: u64,
}

impl Cache {
    fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.gwc", self.engine))
    }

    fn read(&self, digest: &Digest, engine: &wasmtime::Engine) -> Option<Module> {
        let file = self.file(digest);
        is_ours_alone(&self.folder).ok().filter(|ours| *ours)?;
        is_ours_alone(&file).ok().filter(|ours| *ours)?;
        let bytes = std::fs::read(&file).ok()?;
        let code = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(32)).filter(|(hash, code)| {
            // Damage is found here; the folder's rights keep others from making a file that fits.
            Digest::of(code).0 == **hash
        });
        let Some((_, code)) = code else {
            tracing::warn!(file = %file.display(), "a compiled plugin is damaged and is made anew");
            return None;
        };
        // SAFETY: the bytes are what `serialize` gave to an engine like this one, unharmed, out of a file and folder that only
        // this user can write.
        #[allow(unsafe_code)]
        let module = unsafe { Module::deserialize(engine, code) };
        module.map_err(|error| tracing::warn!(file = %file.display(), %error, "a compiled plugin does not fit")).ok()
    }

    fn write(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        make_private(&self.folder)?;
        let bytes = [&MAGIC[..], &Digest::of(code).0, code].concat();
        let file = self.file(digest);
        let mut draft = file.clone().into_os_string();
        let _ = write!(draft, ".{}", std::process::id());
        write_private(Path::new(&draft), &bytes)?;
        std::fs::rename(&draft, &file)?;
        self.prune()
    }

    /// Keeps the newest.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "gwc") {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(KEPT);
        files.iter().take(surplus).try_for_each(|(_, file)| std::fs::remove_file(file))
    }
}

#[cfg(unix)]
fn is_ours_alone(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    Ok(ours && !found.file_type().is_symlink())
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(unix)]
fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}
