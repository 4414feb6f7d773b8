//! What is stored of a title. The payload's field names are part of the built folder's format: see `description.rs`.

use std::collections::BTreeSet;

use marquee_catalogue::{Maturity, Regions};
use marquee_retrieval::VectorFilter;
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, FieldCondition, Filter, HasIdCondition, JsonPath, Match, Payload, PointId, PointStructPersisted, Range,
    Record, VectorStructInternal, VectorStructPersisted,
};
use serde_json::{Value, json};

use crate::BuildError;

/// Payload field: the title's id.
const TITLE_ID: &str = "title_id";
/// Payload field: the age that it is for (years), indexed as an integer.
const MATURITY: &str = "maturity";
/// Payload field: where it is licensed, indexed as keywords.
const REGIONS: &str = "regions";
/// Stands among the regions for "licensed globally"; no country has this code.
const EVERYWHERE: &str = "*";

/// A title and its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexPoint {
    /// The title.
    pub title_id: String,
    /// As long as every other point's.
    pub vector: Vec<f32>,
    /// For whom.
    pub maturity: Maturity,
    /// Where it may be shown.
    pub regions: Regions,
}

impl IndexPoint {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self, dimensions: usize) -> Result<(), BuildError> {
        let problem = match &self.regions {
            _ if self.vector.len() != dimensions => {
                format!("its vector has {} numbers, the index {dimensions}", self.vector.len())
            }
            _ if !self.vector.iter().all(|number| number.is_finite()) => {
                "its vector has a number that is not finite".to_owned()
            }
            Regions::Only(countries) if countries.contains(EVERYWHERE) => {
                format!("`{EVERYWHERE}` is no country")
            }
            _ => return Ok(()),
        };
        Err(BuildError::Point { title_id: self.title_id.clone(), problem })
    }

    /// The engine's form; `number` is the title's place in the order of the ids.
    pub(crate) fn stored(&self, number: u64) -> PointStructPersisted {
        let regions: Vec<&str> = match &self.regions {
            Regions::Everywhere => vec![EVERYWHERE],
            Regions::Only(countries) => countries.iter().map(String::as_str).collect(),
        };
        let payload = [
            (TITLE_ID.to_owned(), json!(self.title_id)),
            (MATURITY.to_owned(), json!(self.maturity.age())),
            (REGIONS.to_owned(), json!(regions)),
        ];
        PointStructPersisted {
            id: PointId::NumId(number),
            vector: VectorStructPersisted::Single(self.vector.clone()),
            payload: Some(Payload(payload.into_iter().collect())),
        }
    }

    /// A point as it was stored; otherwise what is wrong with it.
    pub(crate) fn read(record: Record) -> Result<(u64, Self), String> {
        let PointId::NumId(number) = record.id else {
            return Err(format!("point {} has no number", record.id));
        };
        let wrong = |field: &str| format!("point {number} has no good `{field}`");
        let Some(Payload(payload)) = record.payload else {
            return Err(format!("point {number} has no payload"));
        };
        let Some(VectorStructInternal::Single(vector)) = record.vector else {
            return Err(format!("point {number} has no vector"));
        };
        let title_id = payload.get(TITLE_ID).and_then(Value::as_str).ok_or_else(|| wrong(TITLE_ID))?;
        let age = payload.get(MATURITY).and_then(Value::as_u64).and_then(|age| u8::try_from(age).ok());
        let maturity = age.and_then(Maturity::from_age).ok_or_else(|| wrong(MATURITY))?;
        let regions = payload.get(REGIONS).and_then(Value::as_array).ok_or_else(|| wrong(REGIONS))?;
        let countries: Option<BTreeSet<String>> = regions.iter().map(|r| r.as_str().map(str::to_owned)).collect();
        let countries = countries.ok_or_else(|| wrong(REGIONS))?;
        let regions = if countries.contains(EVERYWHERE) { Regions::Everywhere } else { Regions::Only(countries) };
        Ok((number, Self { title_id: title_id.to_owned(), vector, maturity, regions }))
    }
}

/// The field that is indexed as an integer, for ranges.
pub(crate) fn maturity_field() -> JsonPath {
    field(MATURITY)
}

/// The field that is indexed as keywords.
pub(crate) fn regions_field() -> JsonPath {
    field(REGIONS)
}

fn field(name: &str) -> JsonPath {
    JsonPath { first_key: name.to_owned(), rest: Vec::new() }
}

/// The engine's form of a filter; `without` are the numbers of its titles.
pub(crate) fn engine_filter(filter: &VectorFilter, without: impl Iterator<Item = u64>) -> Filter {
    let oldest = Range { lte: Some(OrderedFloat(f64::from(filter.max_maturity.age()))), ..Range::default() };
    let mut regions = vec![EVERYWHERE.to_owned()];
    if !filter.country.is_empty() {
        regions.push(filter.country.clone());
    }
    let without: HasIdCondition = without.map(PointId::NumId).collect();
    Filter {
        must: Some(vec![
            Condition::Field(FieldCondition::new_range(maturity_field(), oldest)),
            Condition::Field(FieldCondition::new_match(regions_field(), Match::from(regions))),
        ]),
        must_not: (!without.has_id.is_empty()).then(|| vec![Condition::HasId(without)]),
        ..Filter::default()
    }
}
