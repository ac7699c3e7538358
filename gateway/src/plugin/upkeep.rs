//! A copy of the endpoints' live columns, kept up before each pick: in a module's memory, or in the table of what is linked in.
//!
//! In: the endpoints, and the cells of the columns. Out: cells that hold what the statistics hold. Of few endpoints the columns
//! are written whole; of many, those endpoints are that changed, as long as these are fewer by far.

use std::cell::Cell;

use gatewright_abi::{Column, flag};

use crate::balance::{Candidate, Follower, Turn, flag_changes};

/// What was written when.
#[derive(Default)]
pub(super) struct Upkeep {
    follower: Option<Follower>,
    /// Whose turn it is.
    pub(super) turn: Turn,
    /// What [`flag_changes`] said when what changes seldom was last looked at, and for whose turn flags were last written.
    seldom: Cell<Option<(u64, Turn)>>,
}

/// A place for a word.
pub(super) trait Place {
    fn put(&self, word: u32);
}

impl Place for Cell<u32> {
    #[inline(always)]
    fn put(&self, word: u32) {
        self.set(word);
    }
}

/// In a module's memory.
impl Place for Cell<[u8; 4]> {
    #[inline(always)]
    fn put(&self, word: u32) {
        self.set(word.to_le_bytes());
    }
}

impl Upkeep {
    /// For columns of these endpoints that hold nothing yet.
    pub(super) fn of(endpoints: &[Candidate]) -> Upkeep {
        Upkeep { follower: Follower::of(endpoints), ..Upkeep::default() }
    }

    /// The same for other endpoints.
    pub(super) fn anew(&self, endpoints: &[Candidate]) -> Upkeep {
        Upkeep { turn: self.turn, ..Upkeep::of(endpoints) }
    }

    /// Writes what has changed to the columns, each with a cell for each endpoint.
    #[inline]
    pub(super) fn refresh<'a, P: Place + 'a>(
        &self,
        endpoints: &[Candidate],
        columns: impl Iterator<Item = (Column, &'a [P])> + Clone,
    ) {
        let one = |index: usize| {
            let Some(endpoint) = endpoints.get(index) else { return };
            for (column, cells) in columns.clone() {
                if let Some(cell) = cells.get(index) {
                    cell.put(word(column, self.turn, endpoint));
                }
            }
        };
        // Looked at first: what changes while columns are written is written again.
        let seldom = (flag_changes(), self.turn);
        let before = self.seldom.replace(Some(seldom));
        let whole = match &self.follower {
            Some(follower) if follower.each(one) => match before {
                Some((_, turn)) if turn == self.turn => return,
                // For another turn all flags may be others.
                _ => bit(Column::Flags),
            },
            None if before == Some(seldom) => !SELDOM,
            _ => u32::MAX,
        };
        for (column, cells) in columns.filter(|(column, _)| whole & bit(*column) != 0) {
            write(column, self.turn, cells, endpoints);
        }
    }
}

/// Columns that change seldom, and never without [`flag_changes`].
const SELDOM: u32 = bit(Column::Flags) | bit(Column::Warmth);

const fn bit(column: Column) -> u32 {
    1 << column.number()
}

/// Shows in the flags which endpoints a request was sent to before; or, when it has been decided about, no longer.
pub(super) fn show_tried<P: Place>(flags: &[P], turn: Turn, endpoints: &[Candidate], tried: &[usize], shown: bool) {
    let bit = if shown { flag::TRIED } else { 0 };
    for index in tried {
        if let (Some(cell), Some(endpoint)) = (flags.get(*index), endpoints.get(*index)) {
            cell.put(word(Column::Flags, turn, endpoint) | bit);
        }
    }
}

/// Writes a live column.
#[inline]
pub(super) fn write<P: Place>(column: Column, turn: Turn, cells: &[P], endpoints: &[Candidate]) {
    // One loop for each column, so that each is a tight one.
    macro_rules! each {
        ($($name:ident)*) => {
            match column {
                $(Column::$name => {
                    cells.iter().zip(endpoints).for_each(|(cell, one)| cell.put(word(Column::$name, turn, one)))
                })*
                // The others change with the endpoints.
                _ => {}
            }
        };
    }
    each!(Flags Active Latency PeakLatency Errors Rate Load Warmth);
}

/// What a live column says of an endpoint.
#[inline(always)]
pub(super) fn word(column: Column, turn: Turn, candidate: &Candidate) -> u32 {
    let stats = &candidate.endpoint.stats;
    match column {
        Column::Flags => turn.flags(candidate),
        Column::Active => stats.active(),
        Column::Latency => stats.latency(),
        Column::PeakLatency => stats.peak(),
        Column::Errors => stats.errors().to_bits(),
        Column::Rate => stats.rate().to_bits(),
        Column::Load => stats.load().to_bits(),
        Column::Warmth => stats.warmth().to_bits(),
        Column::Weight | Column::Priority | Column::Id | Column::Address | Column::Zone | Column::Metadata => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::balance::{Active, Changes, Endpoint, FEW};
    use crate::config::model;

    const LIVE: [Column; 8] = [
        Column::Flags,
        Column::Active,
        Column::Latency,
        Column::PeakLatency,
        Column::Errors,
        Column::Rate,
        Column::Load,
        Column::Warmth,
    ];

    fn pool(count: usize) -> Vec<Candidate> {
        let changes = Arc::<Changes>::default();
        let endpoint = |index: usize| {
            let model = model::Endpoint { address: format!("10.0.0.1:{index}"), weight: 1 };
            let endpoint = Arc::new(Endpoint::followed(&model, None, &changes));
            Candidate { priority: (index % 2) as u32, place: (index % 3) as u8, ..Candidate::of(endpoint) }
        };
        (0..count).map(endpoint).collect()
    }

    /// A copy, and what it is held against.
    struct Copied<'a> {
        endpoints: &'a [Candidate],
        upkeep: Upkeep,
        columns: BTreeMap<Column, Vec<Cell<u32>>>,
    }

    impl Copied<'_> {
        fn of(endpoints: &[Candidate]) -> Copied<'_> {
            let columns = LIVE.map(|column| (column, vec![Cell::new(7); endpoints.len()])).into();
            Copied { endpoints, upkeep: Upkeep::of(endpoints), columns }
        }

        fn refresh(&self) {
            let columns = self.columns.iter().map(|(column, cells)| (*column, &cells[..]));
            self.upkeep.refresh(self.endpoints, columns);
        }

        fn holds(&self) -> bool {
            let turn = self.upkeep.turn;
            let of = |column: Column| self.endpoints.iter().map(move |one| word(column, turn, one));
            self.columns.iter().all(|(column, cells)| cells.iter().map(Cell::get).eq(of(*column)))
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Begin(usize),
        End,
        Record(usize, u64, bool),
        Flags(usize, u32, u32),
        Pretend(usize, usize, u32),
        Tried(Vec<usize>),
        Refresh(usize),
        /// The next picks of this copy are for this priority and zone, or for all; and health is believed, or not.
        Turn(usize, Turn),
        /// So many at once.
        Flood(usize),
    }

    fn event(count: usize) -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..count).prop_map(Event::Begin),
            8 => Just(Event::End),
            8 => (0..count, 1..100_000u64, any::<bool>()).prop_map(|(of, time, bad)| Event::Record(of, time, bad)),
            3 => (0..count, 0..32u32, 0..32u32).prop_map(|(of, set, clear)| Event::Flags(of, set, clear)),
            3 => (0..count, 0..LIVE.len(), 0..flag::TRIED).prop_map(|(of, column, to)| Event::Pretend(of, column, to)),
            3 => prop::collection::vec(0..count + 2, 0..4).prop_map(Event::Tried),
            8 => (0..2usize).prop_map(Event::Refresh),
            2 => (0..2usize, turn()).prop_map(|(copy, turn)| Event::Turn(copy, turn)),
            1 => (0..2 * count).prop_map(Event::Flood),
        ]
    }

    fn turn() -> impl Strategy<Value = Turn> {
        let parts = (prop::option::of(0..2u8), prop::option::of(0..3u8), any::<bool>());
        parts.prop_map(|(priority, place, distrusts)| Turn { priority, place, distrusts })
    }

    fn run(endpoints: &[Candidate], events: Vec<Event>) -> Result<(), TestCaseError> {
        let mut copies = [Copied::of(endpoints), Copied::of(endpoints)];
        let mut active: Vec<Active> = Vec::new();
        for (now, event) in events.into_iter().enumerate() {
            match event {
                Event::Begin(of) => active.push(endpoints[of].endpoint.begin()),
                Event::End => drop(active.pop()),
                Event::Record(of, time, failed) => {
                    let now = Duration::from_millis(now as u64 * 10);
                    endpoints[of].endpoint.stats.record(Some(Duration::from_micros(time)), failed, now);
                }
                Event::Flags(of, set, clear) => endpoints[of].endpoint.stats.change_flags(set, clear),
                Event::Pretend(of, column, to) => endpoints[of].endpoint.stats.pretend(LIVE[column], to),
                Event::Tried(tried) => {
                    let turn = copies[0].upkeep.turn;
                    copies[0].refresh();
                    let flags = &copies[0].columns[&Column::Flags];
                    show_tried(flags, turn, endpoints, &tried, true);
                    let is_tried = |(index, cell): (usize, &Cell<u32>)| {
                        (cell.get() ^ word(Column::Flags, turn, &endpoints[index]))
                            == if tried.contains(&index) { flag::TRIED } else { 0 }
                    };
                    prop_assert!(flags.iter().enumerate().all(is_tried));
                    show_tried(flags, turn, endpoints, &tried, false);
                    prop_assert!(copies[0].holds());
                }
                Event::Refresh(copy) => {
                    copies[copy].refresh();
                    prop_assert!(copies[copy].holds());
                }
                Event::Turn(copy, turn) => copies[copy].upkeep.turn = turn,
                Event::Flood(count) => {
                    (0..count).for_each(|_| drop(endpoints[count % endpoints.len()].endpoint.begin()));
                }
            }
        }
        copies.iter().for_each(Copied::refresh);
        prop_assert!(copies.iter().all(Copied::holds));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_copy_is_what_writing_all_of_it_would_make_it(
            count in prop_oneof![1..10usize, FEW - 1..FEW + 3, 300..700usize],
            seed in any::<prop::sample::Index>(),
            events in prop::collection::vec(event(1000), 1..200),
        ) {
            let endpoints = pool(count);
            let within = |of: usize| (of + seed.index(1000)) % count;
            let events = events.into_iter().map(|event| match event {
                Event::Begin(of) => Event::Begin(within(of)),
                Event::Record(of, time, failed) => Event::Record(within(of), time, failed),
                Event::Flags(of, set, clear) => Event::Flags(within(of), set, clear),
                Event::Pretend(of, column, to) => Event::Pretend(within(of), column, to),
                other => other,
            });
            run(&endpoints, events.collect())?;
        }
    }

    /// Two threads write; what one of them has said that it wrote is in the copy at once.
    #[test]
    fn what_two_write_at_the_same_time_is_there_when_they_have_written_it() {
        const ROUNDS: u32 = 20_000;
        let endpoints = pool(1000);
        let copied = Copied::of(&endpoints);
        let said = [AtomicU32::new(0), AtomicU32::new(0)];
        std::thread::scope(|scope| {
            for (writer, said) in said.iter().enumerate() {
                let endpoints = &endpoints;
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        // Each has its own endpoint, and all that both write to.
                        endpoints[writer].endpoint.stats.pretend(Column::Latency, round);
                        said.store(round, Ordering::Release);
                        drop(endpoints[2 + round as usize % 998].endpoint.begin());
                    }
                });
            }
            let mut told = [0; 2];
            while told != [ROUNDS; 2] {
                told = [0, 1].map(|writer| said[writer].load(Ordering::Acquire));
                copied.refresh();
                for (writer, told) in told.iter().enumerate() {
                    let copy = copied.columns[&Column::Latency][writer].get();
                    assert!(copy >= *told, "{writer} has said {told}, and {copy} is there");
                }
            }
        });
        copied.refresh();
        assert!(copied.holds());
    }
}
