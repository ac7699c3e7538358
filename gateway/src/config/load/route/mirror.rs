//! `mirror = { … }` of a route: copies of its requests for another pool.

use super::{At, Names, Reader, file, value};
use crate::config::model::{Action, Mirror};

impl Reader<'_, '_> {
    pub(super) fn mirror(
        &mut self,
        at: &At<file::Mirror>,
        action: Option<&Action>,
        pools: &Names<'_>,
    ) -> Option<Mirror> {
        let mirror = &at.value;
        let pool = self.index(&mirror.pool.value, &mirror.pool.span, pools);
        if let (Some(pool), Some(Action::Pool(own))) = (pool, action)
            && pool == *own
        {
            self.report.at(&mirror.pool.span, "is the pool that answers; copies are for another one");
        }
        let share = mirror.share.as_ref().and_then(|share| self.text(share, value::share));
        Some(Mirror {
            pool: pool?,
            share: share.unwrap_or(Mirror::SHARE),
            max_requests: mirror.max_requests.as_ref().map_or(Mirror::MAX_REQUESTS, |most| most.value),
            buffer: mirror.buffer.as_ref().and_then(|buffer| self.buffer(buffer)).unwrap_or(Mirror::BUFFER),
        })
    }
}
