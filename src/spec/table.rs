//! The rows of the table that [`super::schema`] describes.

use super::schema::{
    Alias, Honour, Kind, Live, Origin, PropDef, ResourceDef, ResourceKind as R, Shape, Show,
};

const YES: Honour = Honour::Yes;
const NO_PKG: Honour = Honour::Ignored("it steers Solaris' own software and has no meaning on Linux");
const NO_KZ: Honour = Honour::Ignored("it belongs to kernel zones, which are virtual machines");
const NO_LINKPROP: Honour = Honour::Ignored("Linux links have no such property");
const NO_STORAGE: Honour =
    Honour::Refused("pools inside a zone are not supported; add the storage as fs, dataset or device");

/// A plain, optional, clearable text property; rows below change what differs.
const P: PropDef = PropDef {
    name: "",
    kind: Kind::Text,
    shape: Shape::One,
    required: false,
    clearable: false,
    default: None,
    alias: None,
    key: false,
    qualifier: false,
    show: Show::OrNotSpecified,
    live: Live::None,
    honour: YES,
    origin: Origin::Illumos,
    doc: "",
    example: "",
};

const fn rctl(rctl: &'static str) -> Option<Alias> {
    Some(Alias { rctl, action: "deny" })
}

const MAX: u64 = u64::MAX;
const NET_PROPERTY: Shape = Shape::Groups(&["name", "value"]);

/// The global properties, in the order of `info`.
pub const GLOBALS: &[PropDef] = &[
    PropDef {
        name: "zonename",
        kind: Kind::ZoneName,
        required: true,
        show: Show::Always,
        doc: "Name of the zone; setting it renames the zone at commit",
        example: "zion",
        ..P
    },
    PropDef {
        name: "zonepath",
        kind: Kind::ZonePath,
        required: true,
        show: Show::Always,
        live: Live::Paths,
        doc: "Directory of the zone; its root file system is below it in root",
        example: "/zones/zion",
        ..P
    },
    PropDef {
        name: "brand",
        kind: Kind::Brand,
        show: Show::Always,
        default: Some("linux"),
        doc: "Kind of system in the zone",
        example: "linux",
        ..P
    },
    PropDef {
        name: "autoboot",
        kind: Kind::Bool,
        clearable: true,
        show: Show::Always,
        default: Some("false"),
        doc: "Boot the zone when the host boots",
        example: "true",
        ..P
    },
    PropDef {
        name: "autoshutdown",
        kind: Kind::Word(&["shutdown", "halt", "suspend"]),
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        doc: "What happens to the zone when the host shuts down",
        example: "shutdown",
        ..P
    },
    PropDef {
        name: "bootargs",
        clearable: true,
        show: Show::Always,
        doc: "Boot arguments used when boot gets none: -m options, -i init, -s",
        example: "-m verbose",
        ..P
    },
    PropDef {
        name: "file-mac-profile",
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        kind: Kind::Word(&[
            "none",
            "strict",
            "fixed-configuration",
            "flexible-configuration",
            "dynamic-zones",
        ]),
        doc: "How much of the zone's root is read-only",
        example: "strict",
        ..P
    },
    PropDef {
        name: "pool",
        kind: Kind::PoolName,
        clearable: true,
        show: Show::Always,
        doc: "Named set of cpus that the zone runs on",
        example: "web",
        ..P
    },
    PropDef {
        name: "limitpriv",
        kind: Kind::Privileges,
        clearable: true,
        show: Show::Always,
        live: Live::Privileges,
        doc: "Privileges of the zone: default, names to add, !names to take away",
        example: "default,!sys_time",
        ..P
    },
    PropDef {
        name: "scheduling-class",
        clearable: true,
        show: Show::Always,
        doc: "Scheduling class of the zone's processes",
        example: "FSS",
        ..P
    },
    PropDef {
        name: "ip-type",
        kind: Kind::Word(&["shared", "exclusive"]),
        clearable: true,
        show: Show::Always,
        default: Some("shared"),
        doc: "Whether the zone uses the host's links or has its own",
        example: "exclusive",
        ..P
    },
    PropDef {
        name: "hostid",
        kind: Kind::HostId,
        clearable: true,
        show: Show::Always,
        doc: "Host id of the zone, hexadecimal",
        example: "80f0c086",
        ..P
    },
    PropDef {
        name: "tenant",
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        honour: Honour::Ignored("there are no elastic virtual switches on Linux"),
        doc: "Tenant of elastic virtual switches",
        example: "blue",
        ..P
    },
    PropDef {
        name: "fs-allowed",
        kind: Kind::FsAllowed,
        clearable: true,
        show: Show::Always,
        live: Live::FsTypes,
        doc: "Further file system types that the zone may mount",
        example: "ext4,xfs",
        ..P
    },
    PropDef {
        name: "uuid",
        kind: Kind::Uuid,
        clearable: true,
        show: Show::IfSet,
        origin: Origin::SmartOs,
        doc: "Unique id of the zone; made at install when unset",
        example: "64788f65-1b43-47b8-9d4b-17ed5e3a0d2b",
        ..P
    },
    PropDef {
        name: "global-time",
        kind: Kind::Bool,
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        honour: Honour::Refused("a zone cannot set the host's clock"),
        doc: "Let the zone set the host's time",
        example: "false",
        ..P
    },
    PropDef {
        name: "cpu-arch",
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Cpu architecture of a kernel zone",
        example: "generic",
        ..P
    },
    PropDef {
        name: "boot-disk-protection",
        clearable: true,
        show: Show::IfSet,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Protection of a kernel zone's boot disk",
        example: "none",
        ..P
    },
    PropDef {
        name: "max-lwps",
        kind: Kind::Uint(100, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-lwps"),
        doc: "Largest number of threads",
        example: "1000",
        ..P
    },
    PropDef {
        name: "max-processes",
        kind: Kind::Uint(100, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-processes"),
        doc: "Largest number of processes",
        example: "500",
        ..P
    },
    PropDef {
        name: "max-shm-memory",
        kind: Kind::Size(0),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-shm-memory"),
        doc: "Largest amount of System V shared memory",
        example: "1G",
        ..P
    },
    PropDef {
        name: "max-shm-ids",
        kind: Kind::Uint(0, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-shm-ids"),
        doc: "Largest number of shared memory ids",
        example: "128",
        ..P
    },
    PropDef {
        name: "max-msg-ids",
        kind: Kind::Uint(0, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-msg-ids"),
        doc: "Largest number of message queue ids",
        example: "128",
        ..P
    },
    PropDef {
        name: "max-sem-ids",
        kind: Kind::Uint(0, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: rctl("zone.max-sem-ids"),
        doc: "Largest number of semaphore ids",
        example: "128",
        ..P
    },
    PropDef {
        name: "cpu-shares",
        kind: Kind::Uint(0, MAX),
        clearable: true,
        show: Show::IfSet,
        alias: Some(Alias { rctl: "zone.cpu-shares", action: "none" }),
        doc: "Share of the cpus relative to other zones",
        example: "20",
        ..P
    },
    PropDef {
        name: "zfs-io-priority",
        kind: Kind::Uint(0, 1024),
        clearable: true,
        show: Show::IfSet,
        origin: Origin::SmartOs,
        alias: Some(Alias { rctl: "zone.zfs-io-priority", action: "none" }),
        doc: "Share of ZFS input and output relative to other zones",
        example: "100",
        ..P
    },
];

/// The resources; the order is that of [`R`].
pub const RESOURCES: &[ResourceDef] = &[
    ResourceDef {
        kind: R::InheritPkgDir,
        name: "inherit-pkg-dir",
        singleton: false,
        origin: Origin::Solaris10,
        honour: YES,
        doc: "A directory of the host that the zone sees read-only, for a sparse root",
        props: &[PropDef {
            name: "dir",
            kind: Kind::AbsPath,
            required: true,
            key: true,
            qualifier: true,
            live: Live::Paths,
            origin: Origin::Solaris10,
            doc: "Directory, the same in host and zone",
            example: "/usr",
            ..P
        }],
    },
    ResourceDef {
        kind: R::Fs,
        name: "fs",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A file system to mount in the zone",
        props: &[
            PropDef {
                name: "dir",
                kind: Kind::AbsPath,
                required: true,
                key: true,
                qualifier: true,
                doc: "Where it is mounted, as the zone sees it",
                example: "/export/shared",
                ..P
            },
            PropDef {
                name: "special",
                required: true,
                qualifier: true,
                live: Live::Special,
                doc: "What is mounted: directory, device, image file or dataset",
                example: "/srv/shared",
                ..P
            },
            PropDef {
                name: "raw",
                kind: Kind::AbsPath,
                clearable: true,
                qualifier: true,
                live: Live::Devices,
                doc: "Raw device to check with fsck before the mount",
                example: "/dev/vdb",
                ..P
            },
            PropDef {
                name: "type",
                kind: Kind::FsType,
                required: true,
                qualifier: true,
                live: Live::FsTypes,
                doc: "Type of the file system",
                example: "lofs",
                ..P
            },
            PropDef {
                name: "options",
                shape: Shape::List,
                clearable: true,
                show: Show::Always,
                doc: "Mount options",
                example: "[ro,nodevices]",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Net,
        name: "net",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A network interface",
        props: &[
            PropDef {
                name: "address",
                kind: Kind::Address,
                key: true,
                qualifier: true,
                doc: "Address of a shared zone",
                example: "192.0.2.10/24",
                ..P
            },
            PropDef {
                name: "allowed-address",
                kind: Kind::AddressList,
                key: true,
                qualifier: true,
                doc: "Address that an exclusive zone is held to",
                example: "192.0.2.10/24",
                ..P
            },
            PropDef {
                name: "physical",
                kind: Kind::Link,
                required: true,
                key: true,
                qualifier: true,
                live: Live::Links,
                doc: "Network link",
                example: "eth0",
                ..P
            },
            PropDef {
                name: "mac-addr",
                kind: Kind::Mac,
                show: Show::IfSet,
                origin: Origin::SmartOs,
                clearable: true,
                doc: "Link-layer address",
                example: "02:08:20:00:00:01",
                ..P
            },
            PropDef {
                name: "vlan-id",
                kind: Kind::Uint(0, 4094),
                show: Show::IfSet,
                origin: Origin::SmartOs,
                clearable: true,
                doc: "VLAN of the link",
                example: "42",
                ..P
            },
            PropDef {
                name: "global-nic",
                kind: Kind::Link,
                show: Show::IfSet,
                origin: Origin::SmartOs,
                clearable: true,
                live: Live::Links,
                qualifier: true,
                doc: "Host link below a link that is made for the zone",
                example: "eth0",
                ..P
            },
            PropDef {
                name: "defrouter",
                kind: Kind::Router,
                key: true,
                qualifier: true,
                clearable: true,
                doc: "Default router",
                example: "192.0.2.1",
                ..P
            },
            PropDef {
                name: "property",
                shape: NET_PROPERTY,
                show: Show::IfSet,
                origin: Origin::SmartOs,
                clearable: true,
                doc: "Named values for the brand",
                example: "(name=primary,value=true)",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Anet,
        name: "anet",
        singleton: false,
        origin: Origin::Solaris11,
        honour: YES,
        doc: "A network link that is made for the zone at boot",
        props: &[
            PropDef {
                name: "linkname",
                kind: Kind::Link,
                key: true,
                qualifier: true,
                default: Some("net0"),
                origin: Origin::Solaris11,
                doc: "Name of the link in the zone",
                example: "net0",
                ..P
            },
            PropDef { name: "lower-link", default: Some("auto"), qualifier: true, live: Live::Links, ..A },
            PropDef {
                name: "allowed-address",
                kind: Kind::AddressList,
                qualifier: true,
                doc: "Addresses that the zone is held to",
                example: "192.0.2.10/24",
                ..A
            },
            PropDef {
                name: "configure-allowed-address",
                kind: Kind::Bool,
                default: Some("true"),
                doc: "Configure the allowed addresses at boot",
                example: "true",
                ..A
            },
            PropDef {
                name: "defrouter",
                kind: Kind::Router,
                doc: "Default router",
                example: "192.0.2.1",
                ..A
            },
            PropDef {
                name: "allowed-dhcp-cids",
                doc: "DHCP client ids that the zone may use",
                example: "02:08:20",
                honour: NO_LINKPROP,
                ..A
            },
            PropDef {
                name: "link-protection",
                default: Some("mac-nospoof"),
                doc: "Comma list of mac-nospoof, ip-nospoof, dhcp-nospoof, restricted",
                example: "mac-nospoof",
                ..A
            },
            PropDef {
                name: "mac-address",
                kind: Kind::Mac,
                default: Some("auto"),
                qualifier: true,
                doc: "Link-layer address",
                example: "auto",
                ..A
            },
            PropDef {
                name: "mac-prefix",
                doc: "First bytes of a random link-layer address",
                example: "02:08:20",
                ..A
            },
            PropDef {
                name: "mac-slot",
                honour: NO_LINKPROP,
                doc: "Slot of a factory address",
                example: "1",
                ..A
            },
            PropDef {
                name: "vlan-id",
                kind: Kind::Uint(0, 4094),
                doc: "VLAN of the link",
                example: "42",
                ..A
            },
            PropDef {
                name: "priority",
                kind: Kind::Word(&["low", "medium", "high"]),
                honour: NO_LINKPROP,
                doc: "Priority of the link",
                example: "high",
                ..A
            },
            PropDef {
                name: "rxrings",
                honour: NO_LINKPROP,
                doc: "Number of receive rings",
                example: "4",
                ..A
            },
            PropDef {
                name: "txrings",
                honour: NO_LINKPROP,
                doc: "Number of transmit rings",
                example: "4",
                ..A
            },
            PropDef {
                name: "mtu",
                kind: Kind::Uint(68, 65535),
                doc: "Largest packet in bytes",
                example: "1500",
                ..A
            },
            PropDef {
                name: "maxbw",
                doc: "Largest bandwidth: a number with suffix K, M or G, in bits per second",
                example: "100M",
                ..A
            },
            PropDef {
                name: "bwshare",
                honour: NO_LINKPROP,
                doc: "Share of the bandwidth",
                example: "20",
                ..A
            },
            PropDef {
                name: "rxfanout",
                honour: NO_LINKPROP,
                doc: "Number of receive threads",
                example: "2",
                ..A
            },
            PropDef {
                name: "vsi-typeid",
                honour: NO_LINKPROP,
                doc: "Virtual station type",
                example: "1",
                ..A
            },
            PropDef {
                name: "vsi-vers",
                honour: NO_LINKPROP,
                doc: "Virtual station version",
                example: "1",
                ..A
            },
            PropDef {
                name: "vsi-mgrid",
                honour: NO_LINKPROP,
                doc: "Virtual station manager",
                example: "::1",
                ..A
            },
            PropDef {
                name: "etsbw-lcl",
                honour: NO_LINKPROP,
                doc: "Enhanced transmission bandwidth",
                example: "20",
                ..A
            },
            PropDef { name: "cos", honour: NO_LINKPROP, doc: "Class of service", example: "3", ..A },
            PropDef {
                name: "pkey",
                honour: NO_LINKPROP,
                doc: "InfiniBand partition key",
                example: "0xffff",
                ..A
            },
            PropDef {
                name: "linkmode",
                honour: NO_LINKPROP,
                doc: "InfiniBand link mode",
                example: "cm",
                ..A
            },
            PropDef { name: "evs", honour: NO_LINKPROP, doc: "Elastic virtual switch", example: "blue", ..A },
            PropDef {
                name: "vport",
                honour: NO_LINKPROP,
                doc: "Port of the elastic virtual switch",
                example: "p0",
                ..A
            },
        ],
    },
    ResourceDef {
        kind: R::Device,
        name: "device",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "Device nodes that the zone may use",
        props: &[
            PropDef {
                name: "match",
                kind: Kind::DeviceMatch,
                required: true,
                key: true,
                qualifier: true,
                live: Live::Devices,
                doc: "Glob below /dev",
                example: "/dev/zvol/dsk/tank/vol",
                ..P
            },
            PropDef {
                name: "property",
                shape: NET_PROPERTY,
                show: Show::IfSet,
                clearable: true,
                origin: Origin::SmartOs,
                doc: "Named values for the brand",
                example: "(name=model,value=virtio)",
                ..P
            },
            PropDef {
                name: "storage",
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                honour: NO_KZ,
                doc: "Storage URI of a kernel zone's disk",
                example: "dev:/dev/vdb",
                ..P
            },
            PropDef {
                name: "id",
                kind: Kind::Uint(0, 65535),
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                honour: NO_KZ,
                doc: "Disk number of a kernel zone",
                example: "0",
                ..P
            },
            PropDef {
                name: "bootpri",
                kind: Kind::Uint(0, 65535),
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                honour: NO_KZ,
                doc: "Boot priority of a kernel zone's disk",
                example: "0",
                ..P
            },
            PropDef {
                name: "allow-partition",
                kind: Kind::Bool,
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                honour: NO_LINKPROP,
                doc: "Let the zone change the disk label",
                example: "true",
                ..P
            },
            PropDef {
                name: "allow-raw-io",
                kind: Kind::Bool,
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                honour: NO_LINKPROP,
                doc: "Let the zone use raw SCSI commands",
                example: "true",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::DedicatedCpu,
        name: "dedicated-cpu",
        singleton: true,
        origin: Origin::Illumos,
        honour: YES,
        doc: "Cpus for this zone alone while it runs",
        props: &[
            PropDef {
                name: "ncpus",
                kind: Kind::CpuRange,
                show: Show::IfSet,
                doc: "Number of cpus, N or N-M",
                example: "2-4",
                ..P
            },
            PropDef {
                name: "importance",
                kind: Kind::Uint(0, MAX),
                clearable: true,
                show: Show::IfSet,
                doc: "Weight when cpus are scarce",
                example: "10",
                ..P
            },
            PropDef {
                name: "cpus",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "Cpu numbers, such as 0,2-3",
                example: "0-1",
                ..P
            },
            PropDef {
                name: "cores",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "Core numbers",
                example: "0",
                ..P
            },
            PropDef {
                name: "sockets",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "Socket numbers",
                example: "0",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::CappedCpu,
        name: "capped-cpu",
        singleton: true,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A cap on the zone's cpu time",
        props: &[PropDef {
            name: "ncpus",
            kind: Kind::CpuCap,
            required: true,
            show: Show::IfSet,
            alias: rctl("zone.cpu-cap"),
            doc: "Number of cpus, such as 1.5",
            example: "1.50",
            ..P
        }],
    },
    ResourceDef {
        kind: R::CappedMemory,
        name: "capped-memory",
        singleton: true,
        origin: Origin::Illumos,
        honour: YES,
        doc: "Caps on the zone's memory; at least one is required",
        props: &[
            PropDef {
                name: "physical",
                kind: Kind::Size(1 << 20),
                clearable: true,
                show: Show::IfSet,
                doc: "Largest amount of physical memory",
                example: "1G",
                ..P
            },
            PropDef {
                name: "swap",
                kind: Kind::Size(50 << 20),
                clearable: true,
                show: Show::IfSet,
                alias: rctl("zone.max-swap"),
                doc: "Largest amount of swap",
                example: "2G",
                ..P
            },
            PropDef {
                name: "locked",
                kind: Kind::Size(0),
                clearable: true,
                show: Show::IfSet,
                alias: rctl("zone.max-locked-memory"),
                doc: "Largest amount of locked memory, at most physical",
                example: "512M",
                ..P
            },
            PropDef {
                name: "pagesize-policy",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                honour: NO_KZ,
                doc: "Page size policy of a kernel zone",
                example: "largest-available",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::VirtualCpu,
        name: "virtual-cpu",
        singleton: true,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Virtual cpus of a kernel zone",
        props: &[PropDef {
            name: "ncpus",
            kind: Kind::CpuRange,
            required: true,
            show: Show::IfSet,
            origin: Origin::Solaris11,
            doc: "Number of cpus",
            example: "4",
            ..P
        }],
    },
    ResourceDef {
        kind: R::Attr,
        name: "attr",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A named value, kept and shown",
        props: &[
            PropDef {
                name: "name",
                kind: Kind::AttrName,
                required: true,
                key: true,
                qualifier: true,
                doc: "Name",
                example: "comment",
                ..P
            },
            PropDef {
                name: "type",
                kind: Kind::Word(&["int", "uint", "boolean", "string"]),
                required: true,
                qualifier: true,
                doc: "Type of the value",
                example: "string",
                ..P
            },
            PropDef {
                name: "value",
                kind: Kind::AttrValue,
                required: true,
                qualifier: true,
                doc: "Value",
                example: "my zone",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Dataset,
        name: "dataset",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A ZFS dataset whose administration is delegated to the zone, with its children",
        props: &[
            PropDef {
                name: "name",
                kind: Kind::DatasetName,
                required: true,
                key: true,
                qualifier: true,
                live: Live::Datasets,
                doc: "Name of the ZFS file system",
                example: "tank/zone/zion",
                ..P
            },
            PropDef {
                name: "alias",
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Solaris11,
                qualifier: true,
                honour: Honour::Ignored("a Linux zone sees the dataset under its full name"),
                doc: "Name under which a Solaris 11 zone sees the dataset",
                example: "data",
                ..P
            },
            PropDef {
                name: "lock",
                kind: Kind::LockList,
                show: Show::IfSet,
                clearable: true,
                origin: Origin::Linux,
                doc: "Further ZFS properties that the zone may not change, comma list",
                example: "compression,recordsize",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Admin,
        name: "admin",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "Rights of a user of the host on this zone",
        props: &[
            PropDef {
                name: "user",
                kind: Kind::User,
                required: true,
                key: true,
                qualifier: true,
                live: Live::Users,
                doc: "Login name",
                example: "root",
                ..P
            },
            PropDef {
                name: "auths",
                kind: Kind::Auths,
                required: true,
                doc: "Comma list of login, manage, clonefrom, config",
                example: "login,manage",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Rctl,
        name: "rctl",
        singleton: false,
        origin: Origin::Illumos,
        honour: YES,
        doc: "A resource control",
        props: &[
            PropDef {
                name: "name",
                kind: Kind::RctlName,
                required: true,
                key: true,
                qualifier: true,
                live: Live::Rctls,
                doc: "Name of the control",
                example: "zone.max-lwps",
                ..P
            },
            PropDef {
                name: "value",
                shape: Shape::Groups(&["priv", "limit", "action"]),
                required: true,
                doc: "Limits with privilege and action",
                example: "(priv=privileged,limit=100,action=deny)",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::SecurityFlags,
        name: "security-flags",
        singleton: true,
        origin: Origin::Illumos,
        honour: YES,
        doc: "Process security flags of the zone",
        props: &[
            PropDef {
                name: "lower",
                kind: Kind::SecFlags,
                clearable: true,
                doc: "Flags that are always on",
                example: "none",
                ..P
            },
            PropDef {
                name: "default",
                kind: Kind::SecFlags,
                clearable: true,
                doc: "Flags of the zone's processes",
                example: "aslr",
                ..P
            },
            PropDef {
                name: "upper",
                kind: Kind::SecFlags,
                clearable: true,
                doc: "Flags that may be on",
                example: "all",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Idmap,
        name: "idmap",
        singleton: false,
        origin: Origin::Linux,
        honour: YES,
        doc: "A range of user and group ids; without any, a private range is allocated",
        props: &[
            PropDef {
                name: "type",
                kind: Kind::Word(&["uid", "gid", "both"]),
                default: Some("both"),
                key: true,
                qualifier: true,
                origin: Origin::Linux,
                doc: "What kind of ids the range maps",
                example: "both",
                ..P
            },
            PropDef {
                name: "start",
                kind: Kind::Uint(0, 4294967294),
                required: true,
                key: true,
                qualifier: true,
                origin: Origin::Linux,
                doc: "First id in the zone",
                example: "0",
                ..P
            },
            PropDef {
                name: "target",
                kind: Kind::Uint(0, 4294967294),
                required: true,
                qualifier: true,
                origin: Origin::Linux,
                doc: "First id on the host",
                example: "1000000",
                ..P
            },
            PropDef {
                name: "count",
                kind: Kind::Uint(1, 4294967295),
                required: true,
                origin: Origin::Linux,
                doc: "Number of ids",
                example: "65536",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Rootzpool,
        name: "rootzpool",
        singleton: true,
        origin: Origin::Solaris11,
        honour: NO_STORAGE,
        doc: "Storage of the zone's root pool",
        props: &[PropDef {
            name: "storage",
            shape: Shape::List,
            required: true,
            origin: Origin::Solaris11,
            show: Show::Always,
            doc: "Storage URI",
            example: "dev:/dev/vdb",
            ..P
        }],
    },
    ResourceDef {
        kind: R::Zpool,
        name: "zpool",
        singleton: false,
        origin: Origin::Solaris11,
        honour: NO_STORAGE,
        doc: "Storage of a further pool of the zone",
        props: &[
            PropDef {
                name: "name",
                required: true,
                key: true,
                qualifier: true,
                origin: Origin::Solaris11,
                doc: "Name of the pool",
                example: "data",
                ..P
            },
            PropDef {
                name: "storage",
                shape: Shape::List,
                required: true,
                origin: Origin::Solaris11,
                show: Show::Always,
                doc: "Storage URI",
                example: "dev:/dev/vdb",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Suspend,
        name: "suspend",
        singleton: true,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Where a suspended image of a kernel zone goes",
        props: &[
            PropDef {
                name: "path",
                kind: Kind::AbsPath,
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "File",
                example: "/zones/zion/suspend",
                ..P
            },
            PropDef {
                name: "storage",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "Storage URI",
                example: "dev:/dev/vdb",
                ..P
            },
        ],
    },
    ResourceDef {
        kind: R::Keysource,
        name: "keysource",
        singleton: true,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Encryption key of a kernel zone",
        props: &[PropDef {
            name: "raw",
            clearable: true,
            show: Show::IfSet,
            origin: Origin::Solaris11,
            doc: "Encoded key",
            example: "none",
            ..P
        }],
    },
    ResourceDef {
        kind: R::VerifiedBoot,
        name: "verified-boot",
        singleton: true,
        origin: Origin::Solaris11,
        honour: NO_KZ,
        doc: "Verified boot of a kernel zone",
        props: &[
            PropDef {
                name: "policy",
                kind: Kind::Word(&["none", "warning", "enforce"]),
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "What happens when a signature is wrong",
                example: "warning",
                ..P
            },
            PropDef {
                name: "cert",
                clearable: true,
                show: Show::IfSet,
                origin: Origin::Solaris11,
                doc: "Certificate file",
                example: "/etc/certs/boot.pem",
                ..P
            },
        ],
    },
];

/// A property of `anet`.
const A: PropDef = PropDef {
    clearable: true,
    show: Show::IfSet,
    origin: Origin::Solaris11,
    doc: "Host link below the zone's link",
    example: "auto",
    ..P
};

// Names that no rule above keeps (NO_PKG is for brand templates of other platforms).
/// Why a property of another platform's packaging has no effect.
pub const FOREIGN_PACKAGING: Honour = NO_PKG;
