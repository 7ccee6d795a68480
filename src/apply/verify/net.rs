//! The zone's network: whether the host has the links, and the addresses are free.

use std::collections::{BTreeMap, BTreeSet};

use super::{Purpose, VerifyReport};
use crate::apply::net::{able, follow, observe};
use crate::apply::store::FileStore;
use crate::plan::net::{self, NetFacts};
use crate::spec::schema::ResourceKind;
use crate::spec::state::ZoneState;
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec};

pub fn check(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    purpose: Purpose,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    // The boot itself looks at all of this again, and refuses.
    if !observe::has_network(spec) || purpose == Purpose::Boot {
        return Ok(());
    }
    let facts = match observe::facts(store, name, spec) {
        Ok(facts) => facts,
        Err(why) => {
            found.error(format!("could not verify net: {why}"));
            return Ok(());
        }
    };
    for warning in follow::link_warnings(store.root(), name) {
        found.warn(format!("WARNING: {warning}."));
    }
    // A missing link may come later, and a used one may become free.
    if missing(spec, &facts, found) {
        return Ok(());
    }
    match net::plan(spec, &facts) {
        Ok(network) => {
            for text in network.warnings {
                found.warn(format!("WARNING: {text}"));
            }
        }
        // The present holder of the address may have gone when the zone boots. For an installed zone it is reported
        // with the other obstacles to a boot.
        Err(_) if store.state(name)? == Some(ZoneState::Installed) => return Ok(()),
        Err(refusal) if refusal.passing => found.warn(format!("WARNING: {refusal}")),
        Err(refusal) => found.error(refusal.to_string()),
    }
    if purpose == Purpose::Verify {
        if let Err(why) = able::able() {
            found.error(format!("could not verify net: {why}"));
        }
        zones_with_same_addresses(store, name, spec, found)?;
    }
    Ok(())
}

/// Reports the links that cannot be used now; says whether there are any.
fn missing(spec: &ZoneSpec, facts: &NetFacts, found: &mut VerifyReport) -> bool {
    let exclusive = spec.global("ip-type").as_deref() == Some("exclusive");
    let mut any = false;
    let mut skip = |link: &str, why: String| {
        found.warn(format!("WARNING: skipping network interface '{link}' which {why}."));
        any = true;
    };
    for link in net::needed(spec) {
        match (facts.links.get(link), facts.owned.get(link)) {
            (_, Some(zone)) => skip(link, format!("is used by the non-global zone '{zone}'")),
            (None, None) => skip(link, "may not be present/plumbed in the global zone".into()),
            (Some(there), None) => {
                let alone = |n: &crate::spec::Props| {
                    n.text("physical") == Some(link) && n.text("global-nic").is_none()
                };
                let wants = exclusive && spec.stored(ResourceKind::Net).iter().any(alone);
                if wants && !there.addresses.is_empty() {
                    skip(link, "is used in the global zone".into());
                }
            }
        }
    }
    if net::needs_default(spec) && facts.default_link.is_none() {
        skip("auto", "may not be present/plumbed in the global zone".into());
    }
    any
}

/// Reports the other zones that have one of the addresses in their specs. Only one of them can run at a time, and
/// that may be meant.
fn zones_with_same_addresses(
    store: &FileStore,
    name: &ZoneName,
    spec: &ZoneSpec,
    found: &mut VerifyReport,
) -> Result<(), StoreError> {
    let mine: BTreeSet<(String, String)> = addresses(spec).into_iter().collect();
    if mine.is_empty() {
        return Ok(());
    }
    let mut told: BTreeMap<(String, String), ZoneName> = BTreeMap::new();
    for entry in store.catalog()?.into_iter().filter(|e| e.name != *name) {
        let Ok(Some(saved)) = store.load(&entry.name) else { continue };
        for address in addresses(&saved.spec) {
            if mine.contains(&address) {
                told.entry(address).or_insert_with(|| entry.name.clone());
            }
        }
    }
    for ((link, address), other) in told {
        found.warn(format!(
            "WARNING: address {address} on '{link}' is also that of zone '{other}'; only one of them can run at a time."
        ));
    }
    Ok(())
}

/// Returns link and address of every address in a spec, as it is written.
fn addresses(spec: &ZoneSpec) -> Vec<(String, String)> {
    let nets = spec.stored(ResourceKind::Net).iter().map(|n| (n, "physical", "global-nic"));
    let anets = spec.stored(ResourceKind::Anet).iter().map(|n| (n, "lower-link", "lower-link"));
    let mut list = Vec::new();
    for (net, physical, lower) in nets.chain(anets) {
        let Some(link) = net.text(lower).or_else(|| net.text(physical)) else { continue };
        for property in ["address", "allowed-address"] {
            for text in net.text(property).into_iter().flat_map(|t| t.split(',')) {
                let address = text.split('/').next().unwrap_or(text);
                list.push((link.to_owned(), address.to_owned()));
            }
        }
    }
    list
}
