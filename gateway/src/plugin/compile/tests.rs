//! Compiled code on disk: it is taken when it is whole and ours, and made anew in every other case.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

const BALANCER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "gw_abi_1"))
    (func (export "gw_alloc") (param i32) (result i32) (i32.const 0))
    (func (export "gw_free") (param i32 i32))
    (func (export "gw_table") (result i32) (i32.const 64))
    (func (export "gw_configure") (param i32 i32 i32) (result i64) (i64.const NUMBER))
    (func (export "gw_pick") (param i32) (result i64) (i64.const 0)))"#;

/// Modules that differ in a number.
fn module(number: u32) -> Vec<u8> {
    wat::parse_str(BALANCER.replace("NUMBER", &number.to_string())).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    compiler: Compiler,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let compiler = at(folder.path());
        Bench { folder, compiler }
    }

    /// Whether the code of a module came from the disk.
    fn cached(&self, number: u32) -> bool {
        cached(&self.compiler, number)
    }

    /// The one file with compiled code.
    fn file(&self, number: u32) -> PathBuf {
        let cache = self.compiler.cache.as_ref().unwrap();
        self.folder.path().join(cache.name(&Digest::of(&module(number))))
    }
}

fn at(folder: &Path) -> Compiler {
    Compiler::new(Arc::new(Engine::new().unwrap()), Some(folder)).unwrap()
}

fn cached(compiler: &Compiler, number: u32) -> bool {
    compiler.compile(&module(number), 1 << 20).unwrap().cached
}

#[test]
fn code_is_kept_for_the_next_start() {
    let bench = Bench::new();
    assert!(!bench.cached(1) && bench.cached(1) && !bench.cached(2));
    assert!(cached(&at(bench.folder.path()), 1), "another gateway with the same engine");
    assert_eq!(std::fs::metadata(bench.file(1)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn code_that_is_in_use_is_used_again() {
    let bench = Bench::new();
    let compiled = |number| bench.compiler.compile(&module(number), 1 << 20);
    let (one, other) = (compiled(1).unwrap(), compiled(2).unwrap());
    std::fs::remove_file(bench.file(1)).unwrap();
    assert!(Arc::ptr_eq(&one, &compiled(1).unwrap()) && !Arc::ptr_eq(&one, &other));
    assert!(bench.compiler.compile(&module(1), 1000).is_err(), "it begins with more than it may");
    drop(one);
    assert!(!compiled(1).unwrap().cached, "nobody keeps it");
}

#[test]
fn damaged_code_is_made_anew() {
    let bench = Bench::new();
    bench.cached(1);
    let whole = std::fs::read(bench.file(1)).unwrap();
    let size = whole.len();
    let cut = [0, 1, 7, 8, 20, 39, 40, 41, size / 2, size - 1].map(|size| whole[..size].to_vec());
    let flipped = [0, 7, 8, 39, 40, 41, 60, size / 3, size / 2, size - 1].map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let longer = [whole.as_slice(), b"\0"].concat();
    let older = [b"gwcache1", &whole[8..]].concat();
    for (at, bytes) in cut.into_iter().chain(flipped).chain([longer, older]).enumerate() {
        std::fs::write(bench.file(1), bytes).unwrap();
        assert!(!bench.cached(1), "damage {at}");
        assert_eq!(std::fs::read(bench.file(1)).unwrap().len(), size, "damage {at}");
        assert!(bench.cached(1), "damage {at}");
    }
}

#[test]
fn code_of_another_module_or_engine_is_not_taken() {
    let bench = Bench::new();
    bench.cached(1);
    bench.cached(2);
    std::fs::copy(bench.file(2), bench.file(1)).unwrap();
    assert!(!bench.cached(1) && bench.cached(1));
    // What another engine, or none, made: whole, and under the right name.
    let mut settings = wasmtime::Config::new();
    settings.epoch_interruption(false);
    let other = wasmtime::Engine::new(&settings).unwrap();
    let code = Module::new(&other, module(1)).unwrap().serialize().unwrap();
    let mut version = Module::new(bench.compiler.engine.wasm(), module(1)).unwrap().serialize().unwrap();
    let place = version.windows(2).position(|two| two == b"48").expect("the engine's version");
    version[place] = b'1';
    for code in [code, version, b"no code at all".to_vec(), Vec::new()] {
        let cache = bench.compiler.cache.as_ref().unwrap();
        cache.write(&Digest::of(&module(1)), &code).unwrap();
        assert!(!bench.cached(1) && bench.cached(1));
    }
}

#[test]
fn code_that_others_may_have_written_is_not_taken() {
    let bench = Bench::new();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    bench.cached(1);
    mode(&bench.file(1), 0o666);
    assert!(!bench.cached(1) && bench.cached(1), "a file that others may write");
    let aside = bench.folder.path().join("aside");
    std::fs::rename(bench.file(1), &aside).unwrap();
    symlink(&aside, bench.file(1)).unwrap();
    assert!(!bench.cached(1) && bench.cached(1), "a link in its place");
    assert!(!std::fs::symlink_metadata(bench.file(1)).unwrap().is_symlink());
    mode(bench.folder.path(), 0o777);
    assert!(!bench.cached(1) && !bench.cached(1), "a folder that others may write");
    std::fs::remove_file(bench.file(1)).unwrap();
    assert!(!bench.cached(1) && !bench.file(1).exists(), "nothing is put there");
    mode(bench.folder.path(), 0o700);
    // Only root may give things away.
    bench.cached(1);
    if std::os::unix::fs::chown(bench.file(1), Some(65534), None).is_ok() {
        assert!(!bench.cached(1) && bench.cached(1), "a file of somebody else");
        std::os::unix::fs::chown(bench.folder.path(), Some(65534), None).unwrap();
        assert!(!bench.cached(1) && !bench.cached(1), "a folder of somebody else");
        std::os::unix::fs::chown(bench.folder.path(), Some(0), None).unwrap();
    }
}

#[test]
fn without_a_place_to_keep_it_code_is_made_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.join("below"), file, "/proc/gatewright".into()] {
        let compiler = at(&place);
        assert!(!cached(&compiler, 1) && !cached(&compiler, 1), "{}", place.display());
    }
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let compiler = at(&closed);
    assert!(!cached(&compiler, 1));
    // Rights do not hold root back.
    assert_eq!(cached(&compiler, 1), rustix::process::geteuid().is_root());
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["-t", "tmpfs", "-o", "size=8k,mode=0700", "tmpfs"];
    // Only root may mount, and not everywhere.
    let Ok(mounted) = Command::new("mount").args(small).arg(folder.path()).output() else { return };
    if !mounted.status.success() {
        return;
    }
    let compiler = at(folder.path());
    let found = (cached(&compiler, 1), cached(&compiler, 1), std::fs::read_dir(folder.path()).unwrap().count());
    let unmounted = Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(found, (false, false, 0));
}

#[test]
fn two_gateways_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let compiler = at(folder.path());
                (0..10).for_each(|number| _ = cached(&compiler, number));
            });
        }
    });
    let compiler = at(folder.path());
    assert!((0..10).all(|number| cached(&compiler, number)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 10);
}

#[test]
fn the_newest_are_kept() {
    let bench = Bench::new();
    for number in 0..3 {
        bench.cached(number);
    }
    bench.compiler.cache.as_ref().map(|cache| Vault::open(&cache.folder).unwrap().prune(ENDING, 2)).unwrap().unwrap();
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 2);
    assert!(bench.cached(2) && !bench.cached(0));
}
