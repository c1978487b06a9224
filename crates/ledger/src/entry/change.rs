//! What a frame is after a change of its columns or properties, as Delta's actions say it.

use super::{ARROW_SCHEMA, Protocol};
use crate::{Change, Result, delta_schema, snapshot::About};

/// `about` after `change`.
pub(crate) fn changed(about: &About, change: &Change) -> Result<About> {
    let mut next = about.clone();
    match change {
        Change::Schema(schema) => {
            next.metadata.schema_string = delta_schema::schema_string(schema)?;
            let exact = delta_schema::exact_to_text(schema)?;
            next.metadata.configuration.insert(ARROW_SCHEMA.to_owned(), exact);
            // A reader that learned a type once need not unlearn it.
            if delta_schema::has_plain_timestamp(schema) && about.protocol.min_reader_version < 3 {
                next.protocol = Protocol::of_frame(true);
            }
        }
        Change::Properties(properties) => {
            for (name, value) in properties {
                match value {
                    Some(value) => next.metadata.configuration.insert(name.clone(), value.clone()),
                    None => next.metadata.configuration.remove(name),
                };
            }
        }
    }
    Ok(next)
}
