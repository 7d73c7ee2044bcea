//! What has not changed is not read again, and a fault leaves what was loaded as it is.

use super::*;

#[test]
fn only_what_has_changed_is_read_and_what_has_not_is_the_same() {
    let (folder, authority) = (Folder::new("cache"), Authority::new("root"));
    let entries: Vec<_> =
        (0..20).map(|n| authority.issue(&[&format!("{n}.test")]).put(&folder, &n.to_string())).collect();
    let config = listening(&format!("certificates = [{}]", entries.join(",\n")));
    let mut loader = loader();
    let first = loader.load(&config).unwrap();
    assert_eq!(first.read.len(), 20);
    let same = loader.load(&config).unwrap();
    assert_eq!(same.read, [] as [PathBuf; 0]);
    assert!(Arc::ptr_eq(&server(&first), &server(&same)), "nothing is made anew");
    assert_eq!(loader.outdated(), None);
    // What was just written may change again unseen, so it is looked at again, for some seconds.
    let mut looks = 0;
    while loader.load(&config).unwrap().opened > 0 {
        looks += 1;
        assert!(looks < 400, "unchanged files are opened for ever");
        #[allow(clippy::disallowed_methods, reason = "no shard runs in this test")]
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let renewed = authority.issue(&["7.test"]);
    renewed.put(&folder, "7");
    assert!(loader.outdated().is_some());
    let third = loader.load(&config).unwrap();
    assert_eq!((third.opened, third.read.as_slice()), (1, &[PathBuf::from(folder.path("7.pem"))][..]));
    assert!(!Arc::ptr_eq(&server(&first), &server(&third)));
    let client = Arc::new(client(&authority));
    assert_eq!(shake(&client, &server(&third), "7.test").unwrap().shown(), renewed.der());
    // Those who have begun go on with what there was.
    assert!(shake(&client, &server(&first), "7.test").is_ok());
    assert_eq!(loader.outdated(), None);
    // Until nobody has it any more.
    assert!(!loader.bury());
    drop((first, same));
    assert!(loader.bury());
}

#[test]
fn a_fault_leaves_what_was_loaded_and_what_is_mended_is_loaded() {
    let (folder, authority) = (Folder::new("mend"), Authority::new("root"));
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let config = listening(&format!("certificates = [{entry}]"));
    let mut loader = loader();
    let first = server(&loader.load(&config).unwrap());
    let renewed = authority.issue(&["a.test"]);
    folder.write("a.pem", &renewed.cert);
    for _ in 0..2 {
        let refused = loader.load(&config).unwrap_err().to_string();
        assert!(refused.contains("is not the key of") && refused.contains("weir.toml:5: "), "{refused}");
        assert!(loader.outdated().is_some(), "it is not what was read");
    }
    folder.write("a.key", &renewed.key);
    let second = server(&loader.load(&config).unwrap());
    assert!(!Arc::ptr_eq(&first, &second));
    fs::remove_file(folder.path("a.key")).unwrap();
    assert!(loader.load(&config).is_err() && loader.outdated().is_some());
    assert!(exists(&folder.path("a.pem")));
}

#[test]
fn a_pool_keeps_its_rules_as_long_as_nothing_of_them_changes() {
    let (folder, authority) = (Folder::new("pool"), Authority::new("root"));
    let ca = folder.write("ca.pem", authority.pem());
    let mut loader = loader();
    for keys in [String::new(), format!("ca = {:?}", ca.display().to_string())] {
        let config = pooled(&keys);
        let first = upstream(&loader.load(&config).unwrap());
        assert!(Arc::ptr_eq(&first, &upstream(&loader.load(&config).unwrap())), "{keys}");
        assert!(!Arc::ptr_eq(&first, &upstream(&loader.load(&pooled("verify = false")).unwrap())));
    }
    let config = pooled(&format!("ca = {:?}", ca.display().to_string()));
    let first = upstream(&loader.load(&config).unwrap());
    folder.write("ca.pem", Authority::new("new").pem());
    assert!(!Arc::ptr_eq(&first, &upstream(&loader.load(&config).unwrap())));
}
