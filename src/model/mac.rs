//! A MAC address: the number of a network card, by which a sleeping machine is woken.

/// A network card's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl std::str::FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of a network card; write it as 52:54:00:12:34:56");
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let mut bytes = [0; 6];
        if parts.len() != bytes.len() {
            return Err(wrong());
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| digits).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nonsense_is_not() {
        assert_eq!("52:54:00:aB:34:56".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0x34, 0x56])));
        assert_eq!("52-54-00-ab-34-56".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0x34, 0x56])));
        for text in
            ["", "52:54:00:ab:34", "52:54:00:ab:34:56:78", "52:54:00:ab:34:5", "52:54:00:ab:34:+5", "zz:54:00:ab:34:56"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
