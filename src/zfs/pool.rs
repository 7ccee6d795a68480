//! Whole pools: channel programs, sync, checkpoints, waiting, properties.

use std::collections::BTreeMap;

use super::Zfs;
use super::error::{CallFailure, Meaning, errors, pack, read};
use super::nvlist::{List, NvValue};
use crate::sys::zfs::{Ioctl, ZfsRequest, errno};

/// Instructions that a channel program may take if nothing else is said.
pub const ZCP_INSTRUCTIONS: u64 = 10_000_000;
/// Bytes that a channel program may take if nothing else is said.
pub const ZCP_MEMORY: u64 = 10 << 20;

/// The activities that [`Zfs::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum PoolActivity {
    /// A checkpoint being discarded.
    CheckpointDiscard = 0,
    /// Blocks of destroyed datasets being freed.
    Free = 1,
    /// Devices being initialized.
    Initialize = 2,
    /// A device being replaced.
    Replace = 3,
    /// A device being removed.
    Remove = 4,
    /// A resilver.
    Resilver = 5,
    /// A scrub.
    Scrub = 6,
    /// A trim.
    Trim = 7,
    /// A raidz group growing (2.3 and later).
    RaidzExpand = 8,
}

/// The activities that [`Zfs::wait_fs`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum FilesystemActivity {
    /// Files that were removed while open.
    DeleteQueue = 0,
}

errors! {
    /// Why [`Zfs::channel_program`] failed; the text of the last two is the program's own message.
    ChannelProgramError {
        ENOENT => PoolNotFound "the pool '{0}' does not exist";
        ETIME => ZCPTimeout "the channel program on '{0}' took too many instructions";
        ENOMEM => ZCPMemoryError "the result of the channel program on '{0}' is too large";
        ENOSPC => ZCPSpaceError "the channel program on '{0}' took more memory than it may";
        EPERM => ZCPPermissionError "only root of the host may run a channel program on '{0}'";
        EINVAL => ZCPLimitInvalid "the limits of the channel program on '{0}' are invalid", told_apart;
        EINVAL => ZCPSyntaxError "the channel program is not valid: {0}", told_apart;
        ECHRNG => ZCPRuntimeError "the channel program failed: {0}", told_apart;
    }

    /// Why [`Zfs::sync`], [`Zfs::reopen`], or a call that asks a pool something failed.
    PoolError {
        ENOENT => PoolNotFound "the pool '{0}' does not exist";
        EINVAL => PoolNameInvalid "'{0}' is not the name of a pool, or an argument is invalid";
    }

    /// Why [`Zfs::wait`] or [`Zfs::wait_fs`] failed.
    WaitError {
        ENOENT => NotFound "'{0}' does not exist";
        EINVAL => NameInvalid "'{0}' is not a name, or the activity is unknown";
        EINTR => Interrupted "waiting for '{0}' was interrupted";
    }

    /// Why [`Zfs::pool_checkpoint`] or [`Zfs::pool_checkpoint_discard`] failed.
    CheckpointError {
        ENOENT => PoolNotFound "the pool '{0}' does not exist";
        ZFS_ERR_CHECKPOINT_EXISTS => CheckpointExists "the pool '{0}' has a checkpoint already";
        ZFS_ERR_NO_CHECKPOINT => CheckpointNotFound "the pool '{0}' has no checkpoint";
        ZFS_ERR_DISCARDING_CHECKPOINT => CheckpointDiscarding "the checkpoint of '{0}' is being discarded";
        ZFS_ERR_DEVRM_IN_PROGRESS => DeviceRemovalRunning "a device is being removed from '{0}'";
        ZFS_ERR_VDEV_TOO_BIG => DeviceTooBig "a device of '{0}' is too big for a checkpoint";
        ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS => RaidzExpansionRunning "a raidz group of '{0}' is growing";
    }

    /// Why [`Zfs::get_vdev_props`] or [`Zfs::set_vdev_props`] failed.
    VdevPropError {
        ENOENT => VdevNotFound "the pool '{0}' or the device does not exist";
        EINVAL => PropertyInvalid "a property for a device of '{0}' is invalid";
    }
}

impl Zfs {
    /// Runs a program in Lua inside the kernel, as one change (`lzc_channel_program`). Only root of the
    /// host may, and the kernel may be built without. Returns the program's result.
    ///
    /// ```no_run
    /// # use zones::zfs::{ZCP_INSTRUCTIONS, ZCP_MEMORY, Zfs, nvlist::List};
    /// let zfs = Zfs::open()?;
    /// let args: List = [("argv", List::set(["tank/a"]))].into();
    /// let text = "local args = ...; return args['argv']";
    /// println!("{:?}", zfs.channel_program("tank", text, ZCP_INSTRUCTIONS, ZCP_MEMORY, &args)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelProgramError`].
    pub fn channel_program(
        &self,
        pool: &str,
        program: &str,
        instructions: u64,
        memory: u64,
        args: &List,
    ) -> Result<Option<NvValue>, ChannelProgramError> {
        self.program(pool, program, instructions, memory, args, true)
    }

    /// As [`Zfs::channel_program`], for programs that change nothing
    /// (`lzc_channel_program_nosync`): does not wait for a transaction group.
    ///
    /// # Errors
    /// [`ChannelProgramError`].
    pub fn channel_program_nosync(
        &self,
        pool: &str,
        program: &str,
        instructions: u64,
        memory: u64,
        args: &List,
    ) -> Result<Option<NvValue>, ChannelProgramError> {
        self.program(pool, program, instructions, memory, args, false)
    }

    fn program(
        &self,
        pool: &str,
        program: &str,
        instructions: u64,
        memory: u64,
        args: &List,
        sync: bool,
    ) -> Result<Option<NvValue>, ChannelProgramError> {
        // The kernel wants a list also when there are no arguments.
        let args = args.to_native().map_err(CallFailure::from)?;
        let answer = self
            .core()
            .and_then(|c| c.channel_program(pool, program, instructions, memory, &args, sync))
            .map_err(|e| ChannelProgramError::from_core(e, pool))?;
        let mut out = if answer.list.is_empty() {
            List::new()
        } else {
            List::decode(&answer.list).map_err(CallFailure::from)?
        };
        let message = match out.get("error") {
            Some(NvValue::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            Some(other) => Some(format!("{other:?}")),
            None => None,
        };
        match (answer.errno, message) {
            (0, _) => Ok(out.remove("return")),
            (errno::EINVAL, Some(text)) => Err(ChannelProgramError::ZCPSyntaxError(text)),
            (errno::EINVAL, None) => Err(ChannelProgramError::ZCPLimitInvalid(pool.to_owned())),
            (errno::ECHRNG, text) => Err(ChannelProgramError::ZCPRuntimeError(text.unwrap_or_default())),
            (number, _) => Err(ChannelProgramError::from_errno(number, pool)),
        }
    }

    /// Waits until everything written so far is on disk (`lzc_sync`); with `force`, also writes when
    /// there is nothing to.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// Zfs::open()?.sync("tank", false)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn sync(&self, pool: &str, force: bool) -> Result<(), PoolError> {
        let args = pack(&[("force", force)].into())?;
        self.core().and_then(|c| c.sync(pool, &args)).map_err(|e| PoolError::from_core(e, pool))
    }

    /// Opens the devices of a pool afresh (`lzc_reopen`); with `restart`, a scrub starts anew.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn reopen(&self, pool: &str, restart: bool) -> Result<(), PoolError> {
        self.core().and_then(|c| c.reopen(pool, restart)).map_err(|e| PoolError::from_core(e, pool))
    }

    /// Waits for an activity of a pool to end; says whether there was one (`lzc_wait`, and for one
    /// device's guid `lzc_wait_tag`).
    ///
    /// ```no_run
    /// # use zones::zfs::{PoolActivity, Zfs};
    /// Zfs::open()?.wait("tank", PoolActivity::Free, None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&self, pool: &str, activity: PoolActivity, device: Option<u64>) -> Result<bool, WaitError> {
        let done = self.core().and_then(|c| c.wait(pool, activity as i32, device));
        done.map_err(|e| WaitError::from_core(e, pool))
    }

    /// Waits for an activity of a mounted filesystem to end; says whether there was one
    /// (`lzc_wait_fs`).
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_fs(&self, name: &str, activity: FilesystemActivity) -> Result<bool, WaitError> {
        self.core().and_then(|c| c.wait_fs(name, activity as i32)).map_err(|e| WaitError::from_core(e, name))
    }

    /// Keeps the state of a whole pool so that an import can go back to it (`lzc_pool_checkpoint`).
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn pool_checkpoint(&self, pool: &str) -> Result<(), CheckpointError> {
        self.core().and_then(|c| c.checkpoint(pool)).map_err(|e| CheckpointError::from_core(e, pool))
    }

    /// Gives the checkpoint up; its space is freed later (`lzc_pool_checkpoint_discard`).
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn pool_checkpoint_discard(&self, pool: &str) -> Result<(), CheckpointError> {
        self.core().and_then(|c| c.checkpoint_discard(pool)).map_err(|e| CheckpointError::from_core(e, pool))
    }

    /// Returns the properties of a pool, each a list of `value` and `source` (`lzc_get_props`; with a
    /// library before 2.3 by the request itself).
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// let props = Zfs::open()?.pool_props("tank")?;
    /// println!("{:?}", props.list("free").and_then(|p| p.u64("value")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn pool_props(&self, pool: &str) -> Result<List, PoolError> {
        let answer = self.core().and_then(|c| c.get_props(pool));
        if let Err(crate::sys::zfs::CoreError::Missing(_) | crate::sys::zfs::CoreError::Library(_)) = answer {
            return self.ask_pool(Ioctl::PoolGetProps, pool);
        }
        read(answer, pool)
    }

    /// Returns the directory below which everything of a pool is mounted (`zpool import -R`); none for most pools,
    /// and when the pool cannot be queried.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// assert_eq!(Zfs::open()?.altroot("tank"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn altroot(&self, pool: &str) -> Option<String> {
        let props = self.pool_props(pool).ok()?;
        let root = props.list("altroot")?.str("value")?;
        Some(root.to_owned()).filter(|root| !["", "-", "/"].contains(&root.as_str()))
    }

    /// Says whether a pool is imported read-only.
    pub fn is_read_only(&self, pool: &str) -> bool {
        let props = self.pool_props(pool);
        props.is_ok_and(|props| props.list("readonly").and_then(|p| p.u64("value")) == Some(1))
    }

    /// Returns the boot environment of a pool, the data of the boot loader (`lzc_get_bootenv`).
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn get_bootenv(&self, pool: &str) -> Result<List, PoolError> {
        read(self.core().and_then(|c| c.get_bootenv(pool)), pool)
    }

    /// Replaces the boot environment of a pool (`lzc_set_bootenv`).
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn set_bootenv(&self, pool: &str, env: &List) -> Result<(), PoolError> {
        let env = env.to_native().map_err(CallFailure::from)?;
        self.core().and_then(|c| c.set_bootenv(pool, &env)).map_err(|e| PoolError::from_core(e, pool))
    }

    /// Returns properties of one device of a pool by its guid (`lzc_get_vdev_prop`, 2.2 and later).
    ///
    /// # Errors
    /// [`VdevPropError`].
    pub fn get_vdev_props(&self, pool: &str, device: u64, props: &[&str]) -> Result<List, VdevPropError> {
        let mut args: List = [("vdevprops_get_vdev", device)].into();
        if !props.is_empty() {
            args.insert("vdevprops_get_props", List::set(props));
        }
        let args = pack(&args)?;
        read(self.core().and_then(|c| c.get_vdev_prop(pool, &args)), pool)
    }

    /// Sets properties of one device of a pool by its guid (`lzc_set_vdev_prop`, 2.2 and later).
    ///
    /// # Errors
    /// [`VdevPropError`].
    pub fn set_vdev_props(&self, pool: &str, device: u64, props: &List) -> Result<(), VdevPropError> {
        let mut args: List = [("vdevprops_set_vdev", device)].into();
        args.insert("vdevprops_set_props", props.clone());
        let args = pack(&args)?;
        read::<VdevPropError>(self.core().and_then(|c| c.set_vdev_prop(pool, &args)), pool).map(drop)
    }

    /// Lists the pools that are imported (in a zone: that it may see), each with its configuration.
    ///
    /// ```no_run
    /// # use zones::zfs::Zfs;
    /// for (name, config) in Zfs::open()?.pools()? {
    ///     println!("{name} {:?}", config.u64("pool_guid"));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn pools(&self) -> Result<BTreeMap<String, List>, PoolError> {
        let request = ZfsRequest::new("").map_err(|n| PoolError::from_errno(n, ""))?;
        let reply = match self.device.call(Ioctl::PoolConfigs, &request, 256 << 10) {
            Ok(reply) => reply,
            // Nothing has changed since generation 0: there never was a pool.
            Err((errno::EEXIST, _)) => return Ok(BTreeMap::new()),
            Err((number, _)) => return Err(PoolError::from_errno(number, "")),
        };
        let list = List::decode(&reply.list).map_err(CallFailure::from)?;
        let pool = |(name, config)| match config {
            NvValue::List(config) => Some((name, config)),
            _ => None,
        };
        Ok(list.into_iter().filter_map(pool).collect())
    }

    /// Returns configuration, state and statistics of a pool, also of an unusable one.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn pool_stats(&self, pool: &str) -> Result<List, PoolError> {
        self.ask_pool(Ioctl::PoolStats, pool)
    }

    fn ask_pool(&self, number: Ioctl, pool: &str) -> Result<List, PoolError> {
        let request = ZfsRequest::new(pool).map_err(|n| PoolError::from_errno(n, pool))?;
        let reply = self.device.call(number, &request, 64 << 10);
        let reply = reply.map_err(|(n, _)| PoolError::from_errno(n, pool))?;
        Ok(List::decode(&reply.list).map_err(CallFailure::from)?)
    }
}
