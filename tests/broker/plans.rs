//! What a user who may manage a zone hears of what only root may see: nothing that he has asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{BIN, World, admins, request};

/// A folder that only root may look into, with one thing of each kind.
fn private(w: &World) -> PathBuf {
    let folder = w.lab.path().join("priv");
    fs::create_dir(&folder).expect("a folder");
    fs::create_dir(folder.join("empty")).expect("a folder");
    fs::create_dir(folder.join("full")).expect("a folder");
    fs::write(folder.join("full/within"), "x").expect("a file");
    fs::write(folder.join("file"), "the secret of root\n").expect("a file");
    std::os::unix::fs::symlink("/nowhere", folder.join("link")).expect("a link");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("chmod");
    folder
}

/// Has the broker run a program, as one who does not use the client, and returns all that it says.
fn heard(w: &World, program: &str, args: &[&str]) -> String {
    let mut all = String::new();
    let answer = w.raw(BIN, |channel| {
        channel.send_bytes(&request(program, "000", args)).expect("sent");
        let message = channel.receive().expect("an answer");
        all.push_str(&message.text);
        channel.send_bytes(b"go").expect("sent");
        for fd in message.fds {
            let text = std::io::read_to_string(fs::File::from(fd)).expect("text");
            all.push_str(&text);
        }
    });
    format!("{all}\n{}", answer.unwrap_or_default())
}

/// Each subcommand, as it is and as a plan, with each word of it that can name something.
/// A zonepath is below the lab's root, so `move` has the path as it is there.
fn lines(lab: &str, path: &str) -> Vec<(&'static str, Vec<String>)> {
    let inside = path.strip_prefix(lab).unwrap_or(path);
    let verbs: &[&[&str]] = &[
        &["verify"],
        &["verify", path],
        &["install"],
        &["install", "-a", path],
        &["install", "-d", path],
        &["install", "-o", path],
        &["install", "-s", path],
        &["install", path],
        &["uninstall"],
        &["uninstall", "-F", path],
        &["ready", path],
        &["boot", "-w"],
        &["boot", "-f", "-w", "--", path],
        &["reboot", "-w", path],
        &["shutdown", "-r", path],
        &["halt", path],
        &["clone", path],
        &["clone", "-s", path, "zion"],
        &["clone", "-m", path, "zion"],
        &["clone", "--with-datasets", path],
        &["move", inside],
        &["detach", "-n", path],
        &["detach", path],
        &["attach", "-F"],
        &["attach", "-u"],
        &["attach", "-n", path],
        &["attach", "-F", "-n", path],
        &["attach", path],
        &["mark", "-F", path],
        &["mark", path],
        &["list", path],
        &["doctor", path],
        &["reclaim", path],
        &["reclaim", "-F", path],
        &["plan", path],
        &["help", path],
    ];
    let own = |words: &[&str], zone: &str, plan: bool| {
        let mut line = vec!["-z".to_owned(), zone.to_owned()];
        line.extend(plan.then(|| "plan".to_owned()));
        line.extend(words.iter().map(|w| (*w).to_owned()));
        line
    };
    let mut out = Vec::new();
    for zone in ["zion", "new"] {
        for words in verbs {
            out.push(own(words, zone, false));
            out.push(own(words, zone, true));
        }
    }
    for first in [["-R", path], ["-u", path], ["-z", path]] {
        for verb in ["verify", "boot", "plan"] {
            out.push([first[0], first[1], verb].map(str::to_owned).to_vec());
        }
    }
    let mut all: Vec<_> = out.into_iter().map(|line| ("zoneadm", line)).collect();
    let others: &[(&str, &[&str])] = &[
        ("zonecfg", &["-R", path, "-z", "zion"]),
        ("zonecfg", &["-z", "zion", "-f", path]),
        ("zonecfg", &["-z", "zion", "export", "-f", path]),
        ("zonecfg", &["-z", "zion", "info", path]),
        ("zonecfg", &["-u", path]),
        ("zlogin", &["-R", path, "zion"]),
        ("zlogin", &["-l", path, "zion"]),
        ("zlogin", &["-S", "zion", path]),
        ("zlogin", &["-e", path, "zion"]),
        ("zlogin", &[path]),
    ];
    all.extend(
        others.iter().map(|(program, words)| (*program, words.iter().map(|w| (*w).to_owned()).collect())),
    );
    all
}

#[test]
fn no_answer_tells_what_a_path_of_root_leads_to() {
    let Some(w) = World::new() else { return };
    let all = "manage,login,clonefrom,config";
    w.lab.configure("zion", &admins(&[("bin", all)]));
    w.lab.configure("new", &admins(&[("bin", all)]));
    w.lab.ok("zoneadm", &["-z", "zion", "install"]);
    let folder = private(&w).display().to_string();
    let lab = w.lab.path().display().to_string();
    let mut told = Vec::new();
    // What would be done, if it were, is done to both before the next line is tried.
    let put_back = || {
        let _ = w.lab.run("zoneadm", &["-z", "zion", "halt"]);
        for args in
            [&["-z", "zion", "attach"][..], &["-z", "zion", "install"], &["-z", "new", "uninstall", "-F"]]
        {
            let _ = w.lab.run("zoneadm", args);
        }
    };
    let count = lines(&lab, "x").len();
    for i in 0..count {
        let answers: Vec<String> = ["nothing", "file", "empty", "full", "link", "file/below", "full/within"]
            .iter()
            .map(|name| {
                let path = format!("{folder}/{name}");
                let (program, line) = &lines(&lab, &path)[i];
                let words: Vec<&str> = line.iter().map(String::as_str).collect();
                let answer = heard(&w, program, &words);
                if answer.ends_with("exit 0") && !words.contains(&"plan") && !words.contains(&"verify") {
                    put_back();
                }
                answer.replace(&path, "PATH").replace(&format!("/priv/{name}"), "PATH")
            })
            .collect();
        if answers.iter().any(|a| *a != answers[0]) {
            told.push(format!("{:?}: {answers:#?}", lines(&lab, "PATH")[i]));
        }
    }
    assert!(told.is_empty(), "answers that depend on what root alone may see:\n{}", told.join("\n"));
}

#[test]
fn a_plan_takes_the_right_of_what_it_plans() {
    let Some(w) = World::new() else { return };
    w.lab.installed("zion", &admins(&[("bin", "manage"), ("daemon", "login,clonefrom,config")]));
    w.lab.configure("new", &admins(&[("bin", "manage")]));
    let folder = private(&w).display().to_string();
    let full = format!("{folder}/full");
    let why = "only a privileged user may move a zone.";
    w.refused(BIN, "zoneadm", &["-z", "zion", "move", "/priv/full"], why);
    w.refused(BIN, "zoneadm", &["-z", "zion", "plan", "move", "/priv/full"], why);
    for args in [
        &["-z", "new", "plan", "install", "-d", &full][..],
        &["-z", "new", "plan", "clone", "-s", "tank/x@y", "zion"],
        &["-z", "new", "plan", "clone", "--with-datasets", "zion"],
        &["-z", "zion", "plan", "attach", "-F"],
        &["-z", "zion", "plan", "attach", "-u"],
        &["-z", "zion", "plan", "boot", "-w"],
        &["-z", "zion", "plan", "reboot", "-w"],
    ] {
        w.refused(BIN, "zoneadm", args, "for root only");
    }
    // Of the source, too.
    let why = "User bin is not authorized to clone zone zion (solaris.zone.clonefrom/zion).";
    w.refused(BIN, "zoneadm", &["-z", "new", "plan", "clone", "zion"], why);
    for verb in ["install", "uninstall", "ready", "boot", "reboot", "shutdown", "halt", "detach", "attach"] {
        let why = format!("User daemon is not authorized to {verb} this zone (solaris.zone.manage/zion).");
        w.refused(super::DAEMON, "zoneadm", &["-z", "zion", "plan", verb], &why);
    }
    assert!(w.ok(BIN, "zoneadm", &["-z", "zion", "plan", "boot"]).contains("init"));
    assert!(w.log().contains("plan move: refused: only a privileged user may move a zone."), "{}", w.log());
}
