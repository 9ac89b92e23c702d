//! Wheels that are built anew without their compiled members.

use super::making::{files, wheel};
use crate::packages::files::Budget;
use crate::packages::native::{is_optional, rebuild};
use crate::packages::version::Version;
use crate::packages::wheel::{Natives, unpack};

#[test]
fn what_is_rebuilt_passes_as_a_pure_wheel_and_is_always_the_same() {
    let mut all = files("Zope.interface", "8.0");
    all.insert("Zope.interface/_fast.cpython-314-x86_64-linux-gnu.so".into(), b"\x7fELF".to_vec());
    let info = "Zope.interface-8.0.dist-info";
    all.insert(format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp314-cp314-linux_x86_64\n".to_vec());
    let published = "zope_interface-8.0-cp314-cp314-linux_x86_64.whl";
    let unpacked = unpack(published, &wheel(info, all), Natives::LeaveOut, &mut Budget::default()).unwrap();

    let version = Version::parse("8.0").unwrap();
    let (file, bytes) = rebuild("zope-interface", &version, unpacked.files.clone(), &unpacked.info).unwrap();
    assert_eq!(file, "zope_interface-8.0-py3-none-any.whl");
    assert_eq!(rebuild("zope-interface", &version, unpacked.files, &unpacked.info).unwrap().1, bytes);
    let again = unpack(&file, &bytes, Natives::Refuse, &mut Budget::default()).unwrap();
    assert_eq!(again.info, "zope_interface-8.0.dist-info");
    assert!(again.files.contains_key("Zope.interface/__init__.py") && again.files.keys().all(|path| !path.ends_with(".so")));
}

#[test]
fn the_table_holds_normalised_names() {
    assert!(is_optional("zope-interface") && is_optional("pyyaml"));
    assert!(!is_optional("numpy") && !is_optional("PyYAML"));
}
