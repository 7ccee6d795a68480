//! Access lists of archives: text of tar(1), star and bsdtar, and the kernel's form (acl(5), `posix_acl_xattr.h`).

/// Which of the two lists of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AclKind {
    /// The list of the file itself.
    Access,
    /// The default list for new files in a directory.
    Default,
}

impl AclKind {
    /// Returns the kind of a list that an archive holds under this key.
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        match key {
            b"SCHILY.acl.access" => Some(Self::Access),
            b"SCHILY.acl.default" => Some(Self::Default),
            _ => None,
        }
    }

    /// Returns the attribute that the kernel keeps it in.
    pub(super) fn attribute(self) -> &'static std::ffi::CStr {
        match self {
            Self::Access => c"system.posix_acl_access",
            Self::Default => c"system.posix_acl_default",
        }
    }
}

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;

/// The id of entries that name no user or group: `ACL_UNDEFINED_ID` of `posix_acl.h`. Of the kinds in acl(5) only
/// `ACL_USER` and `ACL_GROUP` name one.
const UNDEFINED_ID: u32 = u32::MAX;

/// Most entries of a list that is taken.
const MOST: usize = 1024;

/// Returns a list in the kernel's form; none when it cannot be parsed, or names a user that `id_of` does not know (a
/// user when true, else a group).
pub(super) fn encode(text: &[u8], id_of: &dyn Fn(&str, bool) -> Option<u32>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            entries.push(one(entry, id_of)?);
        }
    }
    if entries.is_empty() || entries.len() > MOST {
        return None;
    }
    // The kernel demands this order.
    entries.sort_unstable();
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(permissions.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    Some(out)
}

/// Reads `TAG:NAME:PERMISSIONS[:ID]` into tag, id and permissions.
fn one(entry: &str, id_of: &dyn Fn(&str, bool) -> Option<u32>) -> Option<(u16, u32, u16)> {
    let mut fields = entry.strip_prefix("default:").unwrap_or(entry).split(':');
    let tag = fields.next()?;
    let is_user = matches!(tag, "user" | "u");
    let name = match tag {
        "user" | "u" | "group" | "g" => fields.next()?,
        // The empty field of a mask and of others is left out by some.
        "mask" | "m" | "other" | "o" => {
            let mut ahead = fields.clone();
            if ahead.next()?.is_empty() {
                fields = ahead;
            }
            ""
        }
        _ => return None,
    };
    let permissions = fields.next()?.bytes().try_fold(0u16, |bits, letter| match letter {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })?;
    let number = fields.next().and_then(|id| id.parse().ok());
    let number = number.or_else(|| name.parse().ok()).or_else(|| id_of(name, is_user));
    Some(match (tag, name.is_empty()) {
        ("user" | "u", true) => (0x01, UNDEFINED_ID, permissions),
        ("user" | "u", false) => (0x02, number?, permissions),
        ("group" | "g", true) => (0x04, UNDEFINED_ID, permissions),
        ("group" | "g", false) => (0x08, number?, permissions),
        ("mask" | "m", _) => (0x10, UNDEFINED_ID, permissions),
        _ => (0x20, UNDEFINED_ID, permissions),
    })
}

/// Returns the number behind a name in the text of a passwd or group file.
pub(super) fn lookup(file: &str, name: &str) -> Option<u32> {
    let line = file.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_tars_write_them() {
        let id_of = |name: &str, user: bool| match (name, user) {
            ("ann", true) => Some(1000),
            ("staff", false) => Some(50),
            _ => None,
        };
        let encode = |text: &str| encode(text.as_bytes(), &id_of);
        let gnu = encode("user::rwx\nuser:ann:r-x\ngroup::r-x\ngroup:staff:rw-\nmask::rwx\nother::r--\n");
        let star = encode("user::rwx,user:ann:r-x:1000,group::r-x,group:staff:rw-:50,mask::rwx,other::r--");
        let short = encode("u::rwx,u:1000:r-x,g::r-x,g:50:rw-,m:rwx,o:r--");
        let bytes = gnu.clone().expect("understood");
        assert_eq!((gnu, short), (star.clone(), star));
        assert_eq!(bytes.len(), 4 + 6 * 8);
        assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255]);
        assert_eq!(bytes[12..20], [2, 0, 5, 0, 232, 3, 0, 0]);
        for bad in ["", "user:bob:rwx", "user", "user::q", "people::rwx", "mask"] {
            assert_eq!(encode(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_found_whole() {
        let file = "root:x:0:0::/:\nann:x:1000:1000::/:\nanna:x:7:7::/:\n";
        assert_eq!(
            (lookup(file, "ann"), lookup(file, "an"), lookup(file, "anna")),
            (Some(1000), None, Some(7))
        );
    }
}
