//! What takes long about a change, done before its turn comes: reading, fetching, compiling.
//!
//! In: where a configuration comes from, or a module. Out: everything that is needed to put it into force, or why that cannot be.
//! Nothing of it depends on what else comes into force meanwhile. Bounds: `limits.plugin_download_time`,
//! `limits.plugin_compile_time`, [`PLACES`] threads that compile for configurations and as many for pushes.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::members;
use super::workshop::{Late, Workshop};
use crate::admin::Board;
use crate::config::model::{self, Config};
use crate::fetch::{self, Store};
use crate::plugin::Code;
use crate::reload::{Draft, ReloadError, Source, in_file};
use crate::snapshot::Given;
use crate::snapshot::given::{self, Found, Missing};
use crate::worker::Shared;

/// Modules that are compiled at the same time; those that were given up and go on are among them.
const PLACES: usize = 2;

/// Who prepares.
pub(super) struct Study {
    shared: Arc<Shared>,
    file: Option<PathBuf>,
    store: Rc<Store>,
    board: Rc<Board>,
    /// Two of them, so that modules that somebody pushed do not hold up a configuration.
    drafts: Workshop,
    pushes: Workshop,
}

impl Study {
    pub(super) fn new(shared: Arc<Shared>, file: Option<PathBuf>, store: Store, board: Rc<Board>) -> Study {
        let (drafts, pushes) = (Workshop::new(PLACES), Workshop::new(PLACES));
        Study { shared, file, store: Rc::new(store), board, drafts, pushes }
    }

    /// Reads a configuration, and comes by all that its plugins need.
    pub(super) async fn draft(&self, source: Source) -> Result<Draft, ReloadError> {
        let _doing = self.board.begin(None, "reloading");
        let (before, file) = (self.shared.snapshot(), self.file.clone());
        let reading = tokio::task::spawn_blocking(move || source.read(file.as_deref(), &before));
        let config = reading.await.map_err(|_| ReloadError::Stopping)??;
        let before = self.shared.snapshot();
        members::look(&self.shared, &config).await;
        let wanted = fetch::wanted(&config, Some(&before.config));
        // Ends with this task: whoever stops waits for no server.
        let fetched = Arc::new(fetch::fetch(wanted, &config.limits, &self.store, true).await);
        let mut given = Given::default();
        for plugin in &config.plugins {
            let (wanted, before, fetched) = (plugin.clone(), before.clone(), fetched.clone());
            let finding = tokio::task::spawn_blocking(move || given::find(&wanted, Some(&before), &fetched));
            let code = match finding.await.map_err(|_| ReloadError::Stopping)? {
                Ok(Found::Code(code)) => Ok(code),
                // Others would take as long: this one is told at once.
                Ok(Found::Module(module)) => {
                    let compiling = self.compile(&self.drafts, plugin, module, config.limits.plugin_compile_time);
                    compiling.await.map_err(|late| self.problem(&config, plugin, &late))?
                }
                Err(missing) => Err(missing),
            };
            given.add(plugin, code);
        }
        Ok(Draft { config, given })
    }

    /// Compiles a module that was pushed for a plugin.
    pub(super) async fn module(&self, plugin: &str, module: Vec<u8>) -> Result<Code, ReloadError> {
        let _doing = self.board.begin(Some(plugin), "compiling");
        let snapshot = self.shared.snapshot();
        let (plugin, most) = (super::steps::model(&snapshot, plugin)?, snapshot.limits.plugin_compile_time);
        match self.compile(&self.pushes, plugin, module, most).await {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(Missing::Wrong(wrong))) => Err(ReloadError::Plugin(wrong)),
            Ok(Err(Missing::Offline)) => Err(ReloadError::Stopping),
            Err(late) => Err(ReloadError::Plugin(late.to_string())),
        }
    }

    async fn compile(
        &self,
        workshop: &Workshop,
        plugin: &model::Plugin,
        module: Vec<u8>,
        most: std::time::Duration,
    ) -> Result<Result<Code, Missing>, Late> {
        let (shared, plugin) = (self.shared.clone(), plugin.clone());
        workshop.work(most, move || given::compile(&plugin, &module, &shared.house)).await
    }

    fn problem(&self, config: &Config, plugin: &model::Plugin, late: &Late) -> ReloadError {
        in_file(self.file.as_deref(), vec![given::problem(config, plugin, &late.to_string())]).into()
    }
}
