//! A log through parser, grammar, sessions and engine: nothing is counted twice or lost, whatever the lines.
#![no_main]

use denyd::decide::engine::{Engine, Input};
use denyd::decide::policy::Policy;
use denyd::intake::{Counts, Source, fold};
use inputs::file::lines::LineReader;
use inputs::record::{Batch, SourceId, Timestamp};
use inputs::syslog::parse::Parser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(SourceId(0), None, "here");
    let mut parser = Parser::default();
    let (mut engine, mut counts, mut batch) = (Engine::new(Policy::default()), Counts::default(), Batch::default());
    let mut lines = LineReader::new(data);
    while lines.fill(&mut batch).expect("no error") {
        batch.received = Timestamp::from_secs(1_795_305_600);
        batch.reference = batch.received;
        parser.parse(&mut batch);
        let mut attempts = 0;
        fold(&mut engine, &mut source, &batch, &mut counts, |seen, _| {
            let added = seen.folded.map_or(0, |folded| folded.attempts());
            assert!(added <= 1_000);
            attempts += u64::from(added);
        });
        assert!(attempts <= counts.attempts);
    }
    engine.step(batch.received, Input::End);
    let folded = counts.failures + counts.probes + counts.successes + counts.refused;
    assert_eq!(counts.records, folded + counts.ignored + counts.unknown);
});
