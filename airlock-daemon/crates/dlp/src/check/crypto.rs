//! Addresses of blockchains, by their checksums.

use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::table::Checks;

pub(super) const CHECKS: Checks =
    &[("base58check", is_base58check), ("bech32", is_bech32), ("eip55", is_eip55)];

/// `Base58Check`: the last four bytes are the first of the double SHA-256 of the rest.
fn is_base58check(text: &str) -> bool {
    if text.len() > 120 {
        return false;
    }
    let Ok(bytes) = bs58::decode(text).into_vec() else { return false };
    let Some((payload, checksum)) = bytes.split_last_chunk::<4>() else { return false };
    !payload.is_empty() && Sha256::digest(Sha256::digest(payload))[..4] == *checksum
}

/// Bech32 or Bech32m (BIP 173 and 350), with a witness program where the chain has one.
fn is_bech32(text: &str) -> bool {
    bech32::segwit::decode(text).is_ok() || {
        let is_segwit = ["bc1", "tb1", "bcrt1", "ltc1"]
            .iter()
            .any(|prefix| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
        !is_segwit && bech32::decode(text).is_ok_and(|(_, data)| !data.is_empty())
    }
}

/// Addresses of Ethereum whose capitals are their checksum (EIP-55).
fn is_eip55(text: &str) -> bool {
    let Some(address) = text.strip_prefix("0x").filter(|address| address.len() == 40) else { return false };
    if !address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let hash = Keccak256::digest(address.to_ascii_lowercase().as_bytes());
    let has_both = address.bytes().any(|byte| byte.is_ascii_uppercase())
        && address.bytes().any(|byte| byte.is_ascii_lowercase());
    has_both
        && address.bytes().enumerate().all(|(place, byte)| {
            let nibble = if place % 2 == 0 { hash[place / 2] >> 4 } else { hash[place / 2] & 15 };
            byte.is_ascii_digit() || byte.is_ascii_uppercase() == (nibble >= 8)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base58check_knows_published_addresses() {
        for good in [
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "17VZNX1SN5NtKa8UQFxwQbFeFc3iqRYhem",
            "5Hwgr3u458GLafKBgxtssHSPqJnYoGrSzgQsPwLFhLNYskDPyyA",
        ] {
            assert!(is_base58check(good), "{good}");
        }
        for bad in ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "1111", "", "0OIl", &"1".repeat(200)] {
            assert!(!is_base58check(bad), "{bad}");
        }
    }

    #[test]
    fn bech32_knows_the_vectors_of_the_bips() {
        for good in [
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        ] {
            assert!(is_bech32(good), "{good}");
        }
        for bad in [
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", // version 2, old checksum
            "bc1",
            "",
        ] {
            assert!(!is_bech32(bad), "{bad}");
        }
    }

    #[test]
    fn eip55_knows_the_vectors_of_the_proposal() {
        for good in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert!(is_eip55(good), "{good}");
        }
        for bad in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
            "",
        ] {
            assert!(!is_eip55(bad), "{bad}");
        }
    }
}
