# Networks of zones on the kernel of Debian 12, with links that other kernels may lack.
# images: bookworm
# tests: network
modprobe -a veth dummy 8021q bridge 2>/dev/null
export ZONES_TEST_REQUIRE=namespaces,links
# What takes longer than a minute in an emulated machine, and tells nothing about the kernel, is left to the host.
trials network --skip fifty_zones_at_once --skip bandwidth
