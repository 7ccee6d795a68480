//! The functions of libzfs_core for whole pools.

#![allow(unsafe_code)]

use std::ffi::c_int;

use super::core::{Core, CoreError, LzcReply, c, check, function};

impl Core {
    /// Runs a channel program; `sync` makes it change things.
    pub fn channel_program(
        &self,
        pool: &str,
        program: &str,
        instructions: u64,
        memory: u64,
        args: &[u8],
        sync: bool,
    ) -> Result<LzcReply, CoreError> {
        let f = if sync {
            function!(self, channel_program, "lzc_channel_program")
        } else {
            function!(self, channel_program_nosync, "lzc_channel_program_nosync")
        };
        let (pool, program, args) = (c(pool)?, c(program)?, self.list(args)?);
        // SAFETY: all pointers live until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(pool.as_ptr(), program.as_ptr(), instructions, memory, args.raw, out) })
    }

    /// Waits until everything is on disk.
    pub fn sync(&self, pool: &str, args: &[u8]) -> Result<(), CoreError> {
        let f = function!(self, sync, "lzc_sync");
        let (pool, args) = (c(pool)?, self.list(args)?);
        // SAFETY: name and list live until the call returns; the answer is freed by its owner.
        let answer = self.answer(|out| unsafe { f(pool.as_ptr(), args.raw, out) })?;
        check(answer.errno)
    }

    /// Opens a pool's devices afresh.
    pub fn reopen(&self, pool: &str, restart: bool) -> Result<(), CoreError> {
        let f = function!(self, reopen, "lzc_reopen");
        let pool = c(pool)?;
        // SAFETY: the name lives until the call returns.
        check(unsafe { f(pool.as_ptr(), c_int::from(restart)) })
    }

    /// Waits for an activity to end; says whether it had to.
    pub fn wait(&self, pool: &str, activity: i32, tag: Option<u64>) -> Result<bool, CoreError> {
        let pool = c(pool)?;
        let mut waited = 0;
        let errno = if let Some(tag) = tag {
            let f = function!(self, wait_tag, "lzc_wait_tag");
            // SAFETY: the name lives until the call returns, which writes one truth value.
            unsafe { f(pool.as_ptr(), activity, tag, &raw mut waited) }
        } else {
            let f = function!(self, wait, "lzc_wait");
            // SAFETY: as above.
            unsafe { f(pool.as_ptr(), activity, &raw mut waited) }
        };
        check(errno)?;
        Ok(waited != 0)
    }

    /// Waits for an activity of one filesystem to end; says whether it had to.
    pub fn wait_fs(&self, name: &str, activity: i32) -> Result<bool, CoreError> {
        let f = function!(self, wait_fs, "lzc_wait_fs");
        let name = c(name)?;
        let mut waited = 0;
        // SAFETY: the name lives until the call returns, which writes one truth value.
        check(unsafe { f(name.as_ptr(), activity, &raw mut waited) })?;
        Ok(waited != 0)
    }

    /// Takes a checkpoint.
    pub fn checkpoint(&self, pool: &str) -> Result<(), CoreError> {
        let f = function!(self, checkpoint, "lzc_pool_checkpoint");
        let pool = c(pool)?;
        // SAFETY: the name lives until the call returns.
        check(unsafe { f(pool.as_ptr()) })
    }

    /// Discards the checkpoint.
    pub fn checkpoint_discard(&self, pool: &str) -> Result<(), CoreError> {
        let f = function!(self, checkpoint_discard, "lzc_pool_checkpoint_discard");
        let pool = c(pool)?;
        // SAFETY: the name lives until the call returns.
        check(unsafe { f(pool.as_ptr()) })
    }

    /// Returns a pool's properties (2.3 and later).
    pub fn get_props(&self, pool: &str) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_props, "lzc_get_props");
        let pool = c(pool)?;
        // SAFETY: the name lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(pool.as_ptr(), out) })
    }

    /// Returns the boot environment of a pool.
    pub fn get_bootenv(&self, pool: &str) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_bootenv, "lzc_get_bootenv");
        let pool = c(pool)?;
        // SAFETY: the name lives until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(pool.as_ptr(), out) })
    }

    /// Replaces the boot environment of a pool.
    pub fn set_bootenv(&self, pool: &str, env: &[u8]) -> Result<(), CoreError> {
        let f = function!(self, set_bootenv, "lzc_set_bootenv");
        let (pool, env) = (c(pool)?, self.list(env)?);
        // SAFETY: name and list live until the call returns.
        check(unsafe { f(pool.as_ptr(), env.raw) })
    }

    /// Returns properties of devices of a pool (2.2 and later).
    pub fn get_vdev_prop(&self, pool: &str, args: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, get_vdev_prop, "lzc_get_vdev_prop");
        let (pool, args) = (c(pool)?, self.list(args)?);
        // SAFETY: name and list live until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(pool.as_ptr(), args.raw, out) })
    }

    /// Sets properties of a device of a pool (2.2 and later).
    pub fn set_vdev_prop(&self, pool: &str, args: &[u8]) -> Result<LzcReply, CoreError> {
        let f = function!(self, set_vdev_prop, "lzc_set_vdev_prop");
        let (pool, args) = (c(pool)?, self.list(args)?);
        // SAFETY: name and list live until the call returns; the answer is freed by its owner.
        self.answer(|out| unsafe { f(pool.as_ptr(), args.raw, out) })
    }
}
