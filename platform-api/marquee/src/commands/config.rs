//! `marquee config`: the settings in force, each with its origin.

use crate::failure::Failure;
use crate::settings::Loaded;
use crate::tables_output::print_json;

pub(crate) fn run(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    if json {
        let origins: std::collections::BTreeMap<_, _> =
            loaded.origins.iter().map(|(key, (_, origin))| (key, origin)).collect();
        return print_json(&serde_json::json!({ "settings": loaded.settings, "origins": origins }));
    }
    let width = loaded.origins.iter().map(|(key, (value, _))| key.len() + value.len()).max().unwrap_or_default();
    for (key, (value, origin)) in &loaded.origins {
        let space = width - key.len() - value.len();
        println!("{key} = {value}{:space$}  # {origin}", "");
    }
    Ok(())
}
