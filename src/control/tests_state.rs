//! Run-time changes over a restart: control with a state file, ended and begun again.

use super::rig::*;
use super::*;
use crate::fleet::change::Change;
use crate::fleet::status::{BackendState, Origin, Will};
use std::path::Path;

/// Begins control with what the file has, as the start of the process does.
fn begun(path: &Path) -> Begun {
    let (file, carried) = StateFile::open(path);
    Begun { state: Some(file), carried, source: None }
}

async fn leave(rig: Rig) {
    rig.signals.send(Signal::Leave).unwrap();
    rig.exit().await;
}

#[test]
fn what_operators_changed_holds_after_a_restart_until_the_configuration_says_something_else() {
    let path = std::env::temp_dir().join(format!("weir-restart-{}.json", std::process::id()));
    let backends = [closed_port(), closed_port(), closed_port()];
    let first = config(vec![pool("app", &backends, None)]);
    let app = || "app".to_owned();
    with_begun(first.clone(), begun(&path), 1, |rig| async move {
        for change in [
            Change::Drain { pool: app(), name: "0".into() },
            Change::Weight { pool: app(), name: "1".into(), weight: 7 },
            Change::Remove { pool: app(), name: "2".into() },
            Change::Add {
                pool: app(),
                address: "127.0.0.1:1".into(),
                name: Some("x".into()),
                weight: Some(5),
            },
        ] {
            rig.desk.change(&change, false).await.unwrap();
        }
        leave(rig).await;
    });
    with_begun(first.clone(), begun(&path), 1, |rig| async move {
        assert_eq!(rig.backend("0").unwrap().state, BackendState::Draining);
        let heavy = rig.backend("1").unwrap();
        assert_eq!((heavy.weight, heavy.configured_weight), (7, Some(1)));
        assert!(rig.backend("2").is_none());
        let added = rig.backend("x").unwrap();
        assert_eq!((added.weight, added.origin), (5, Origin::Added));
        leave(rig).await;
    });
    let mut changed = first;
    for backend in &mut changed.pools[0].backends {
        backend.weight = 3;
    }
    with_begun(changed, begun(&path), 1, |rig| async move {
        for name in ["0", "1", "2"] {
            let backend = rig.backend(name).unwrap();
            assert_eq!((backend.weight, backend.will), (3, Will::Ready), "{name}");
        }
        assert!(rig.backend("x").is_some(), "of it the configuration says nothing");
        leave(rig).await;
    });
    let kept = StateFile::open(&path).1.unwrap();
    assert_eq!(kept.pools[0].backends.len(), 1, "what was forgotten does not come back");
    std::fs::remove_file(&path).unwrap();
}
