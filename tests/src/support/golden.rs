//! Texts that are kept beside the tests, so that a change of them is seen in review.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

/// With this variable set, goldens are written instead of compared.
const UPDATE: &str = "SFKEY_UPDATE_GOLDENS";

/// Compares texts with the files of their names in `tests/goldens/FOLDER`, which holds these files and no other.
///
/// # Panics
/// Where one differs, is missing, or stands for nothing any more; all are named.
pub fn hold<'t>(folder: &str, texts: impl IntoIterator<Item = (String, &'t str)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(folder);
    let update = env::var_os(UPDATE).is_some();
    let mut names = BTreeSet::new();
    let mut complaints = Vec::new();
    for (name, text) in texts {
        let path = folder.join(&name);
        names.insert(path.clone());
        let kept = fs::read_to_string(&path).ok();
        if kept.as_deref() == Some(text) {
            continue;
        }
        if update {
            fs::create_dir_all(&folder).expect("the folder can be made");
            fs::write(&path, text).expect("the golden can be written");
        } else {
            complaints.push(match kept {
                None => format!("{} is missing", path.display()),
                Some(kept) => format!("{} differs: {}", path.display(), first_difference(&kept, text)),
            });
        }
    }
    for path in files(&folder).filter(|path| !names.contains(path)) {
        if update {
            fs::remove_file(&path).expect("the golden can be removed");
        } else {
            complaints.push(format!("{} stands for nothing any more", path.display()));
        }
    }
    assert!(
        complaints.is_empty(),
        "{}\nif that is meant: {UPDATE}=1 and the same test again, then look at git diff",
        complaints.join("\n")
    );
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("it can be listed").path())
}

fn first_difference(kept: &str, text: &str) -> String {
    let mut lines = kept.lines().zip(text.lines()).enumerate();
    match lines.find(|(_, (kept, text))| kept != text) {
        Some((number, (kept, text))) => format!("line {}: {kept:?}, and now {text:?}", number + 1),
        None => format!("{} lines, and now {}", kept.lines().count(), text.lines().count()),
    }
}
