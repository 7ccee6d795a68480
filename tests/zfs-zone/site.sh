# What a zone that runs is given and loses again: mounts, device nodes, datasets and limits.
# images: bookworm
# tests: site
export ZONES_TEST_REQUIRE=namespaces ZONES_TEST_POOL=tank
trials site
good "none was left out" eval "! grep SKIPPED /tmp/site"
