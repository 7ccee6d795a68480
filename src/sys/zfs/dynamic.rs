//! Shared libraries opened at run time.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::io;

/// A library that stays open for the life of the process: its functions may be in use anywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Library(*mut c_void);

impl Library {
    /// Opens a library by its soname.
    pub(super) fn open(name: &CStr) -> io::Result<Self> {
        // SAFETY: the name is a C string. Constructors of the ZFS libraries only set up their own data.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if !handle.is_null() {
            return Ok(Self(handle));
        }
        // SAFETY: dlerror returns null or a C string that is valid until the next call in this thread.
        let text = unsafe {
            let text = libc::dlerror();
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    /// Returns the address of a function, null if there is none of that name.
    pub(super) fn address(self, name: &CStr) -> *mut c_void {
        // SAFETY: the handle came from dlopen and is never closed; the name is a C string.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }
}

/// Declares the functions that may be found in a library: a struct with one optional pointer for each.
macro_rules! functions {
    ($(#[$meta:meta])* $vis:vis struct $name:ident -> $ret:ty { $($field:ident = $symbol:literal ( $($arg:ty),* $(,)? );)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        $vis struct $name {
            $(pub(super) $field: Option<unsafe extern "C" fn($($arg),*) -> $ret>,)*
        }

        impl $name {
            /// Looks every function up.
            pub(super) fn load(library: $crate::sys::zfs::dynamic::Library) -> Self {
                $(
                    let name = std::ffi::CString::new($symbol).expect("a literal without zero bytes");
                    let address = library.address(&name);
                    // SAFETY: a null address becomes None; any other is the function of that name, whose C
                    // prototype (libzfs_core.h, libnvpair.h; unchanged from 2.0 to 2.4) is the type here.
                    let $field = unsafe {
                        std::mem::transmute::<
                            *mut std::ffi::c_void,
                            Option<unsafe extern "C" fn($($arg),*) -> $ret>,
                        >(address)
                    };
                )*
                Self { $($field),* }
            }
        }
    };
}
pub(super) use functions;
