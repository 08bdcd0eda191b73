//! The small part of SOQL that clients send when they log in, and that people type to try a connection:
//! `SELECT fields FROM object [WHERE field = 'value' [AND …]] [ORDER BY field [DESC]] [LIMIT n]`, and `COUNT()`.

use serde_json::{Map, Value, json};

use super::ids::{long_id, short_id};
use super::org::{Org, User};

type Record = Map<String, Value>;

/// An error of the query resource.
#[derive(Debug, PartialEq)]
pub(super) struct QueryError {
    pub(super) code: &'static str,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Like,
}

#[derive(Debug, PartialEq)]
struct Condition {
    field: String,
    comparison: Comparison,
    value: Value,
}

/// A query that has been understood.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    text: String,
    fields: Vec<String>,
    count: bool,
    object: String,
    conditions: Vec<Condition>,
    order: Option<(String, bool)>,
    limit: Option<usize>,
}

/// Words, texts and signs, one after the other.
struct Tokens<'a> {
    text: &'a str,
    list: std::vec::IntoIter<String>,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        let mut list: Vec<String> = Vec::new();
        let mut quoted = false;
        let mut joined = false;
        for c in text.chars() {
            let word = c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '+');
            if quoted || (word && joined) {
                list.last_mut().expect("a token has begun").push(c);
            } else if word || c == '\'' || !c.is_whitespace() {
                list.push(c.to_string());
            }
            if c == '\'' {
                quoted = !quoted;
            }
            joined = quoted || word;
        }
        Self {
            text,
            list: list.into_iter(),
        }
    }

    fn next(&mut self) -> Result<String, QueryError> {
        self.list.next().ok_or_else(|| self.malformed("<EOF>"))
    }

    /// Takes the next token if it is `word`, whatever its case.
    fn take(&mut self, word: &str) -> bool {
        let there = self
            .list
            .as_slice()
            .first()
            .is_some_and(|token| token.eq_ignore_ascii_case(word));
        if there {
            self.list.next();
        }
        there
    }

    fn expect(&mut self, word: &str) -> Result<(), QueryError> {
        if self.take(word) {
            return Ok(());
        }
        let found = self.list.as_slice().first().cloned();
        Err(self.malformed(found.as_deref().unwrap_or("<EOF>")))
    }

    fn malformed(&self, token: &str) -> QueryError {
        QueryError {
            code: "MALFORMED_QUERY",
            message: format!(
                "\n{}\n^\nERROR at Row:1:Column:1\nunexpected token: {token}",
                self.text
            ),
        }
    }
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        let mut tokens = Tokens::new(text);
        let mut query = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        tokens.expect("SELECT")?;
        loop {
            let field = tokens.next()?;
            if field.eq_ignore_ascii_case("COUNT") && tokens.take("(") {
                tokens.expect(")")?;
                query.count = true;
            } else {
                query.fields.push(field);
            }
            if !tokens.take(",") {
                break;
            }
        }
        tokens.expect("FROM")?;
        query.object = tokens.next()?;
        if tokens.take("WHERE") {
            query.conditions.push(condition(&mut tokens)?);
            while tokens.take("AND") {
                query.conditions.push(condition(&mut tokens)?);
            }
        }
        if tokens.take("ORDER") {
            tokens.expect("BY")?;
            let field = tokens.next()?;
            let descending = tokens.take("DESC");
            let _ascending = !descending && tokens.take("ASC");
            query.order = Some((field, descending));
        }
        if tokens.take("LIMIT") {
            let number = tokens.next()?;
            query.limit = Some(number.parse().map_err(|_| tokens.malformed(&number))?);
        }
        match tokens.list.next() {
            Some(token) => Err(tokens.malformed(&token)),
            None => Ok(query),
        }
    }

    /// The answer of the query resource.
    pub(super) fn run(&self, org: &Org, users: &[&User], root: &str) -> Result<Value, QueryError> {
        let (object, records) = self.matching(org, users)?;
        if self.count {
            return Ok(json!({ "totalSize": records.len(), "done": true, "records": [] }));
        }
        let shown: Result<Vec<Value>, _> = records
            .iter()
            .map(|record| self.shown(&object, record, root))
            .collect();
        let shown = shown?;
        Ok(json!({ "totalSize": shown.len(), "done": true, "records": shown }))
    }

    /// The answer with `columns=true`, which the sf CLI asks for to lay out its table.
    pub(super) fn columns(&self, org: &Org, users: &[&User]) -> Result<Value, QueryError> {
        let (object, _) = self.matching(org, users)?;
        let column = |field: &String| {
            json!({
                "aggregate": false, "apexType": "String", "booleanType": false, "columnName": field,
                "custom": false, "displayName": field, "foreignKeyName": null, "insertable": true,
                "joinColumns": [], "numberType": false, "textType": true, "updatable": true,
            })
        };
        Ok(json!({
            "columnMetadata": self.fields.iter().map(column).collect::<Vec<_>>(),
            "entityName": object,
            "groupBy": false,
            "idSelected": self.fields.iter().any(|field| field.eq_ignore_ascii_case("Id")),
            "keyPrefix": null,
        }))
    }

    fn matching(&self, org: &Org, users: &[&User]) -> Result<(String, Vec<Record>), QueryError> {
        let (object, mut records) = table(org, users, &self.object).ok_or_else(|| QueryError {
            code: "INVALID_TYPE",
            message: format!(
                "\n{}\n^\nERROR at Row:1:Column:1\nsObject type '{}' is not supported.",
                self.text, self.object
            ),
        })?;
        for condition in &self.conditions {
            let mut kept = Vec::new();
            for record in records {
                if condition.holds(value(&object, &record, &condition.field)?) {
                    kept.push(record);
                }
            }
            records = kept;
        }
        if let Some((field, descending)) = &self.order {
            let key = |record: &Record| value(&object, record, field).map(sort_key).unwrap_or_default();
            records.sort_by_key(key);
            if *descending {
                records.reverse();
            }
        }
        records.truncate(self.limit.unwrap_or(usize::MAX));
        Ok((object, records))
    }

    fn shown(&self, object: &str, record: &Record, root: &str) -> Result<Value, QueryError> {
        let mut shown = Record::new();
        shown.insert("attributes".to_owned(), attributes(object, record, root));
        for field in &self.fields {
            let (name, found) = entry(object, record, field)?;
            shown.insert(name.to_owned(), found.clone());
        }
        Ok(Value::Object(shown))
    }
}

fn condition(tokens: &mut Tokens<'_>) -> Result<Condition, QueryError> {
    let field = tokens.next()?;
    let comparison = if tokens.take("=") {
        Comparison::Equal
    } else if tokens.take("!") {
        tokens.expect("=")?;
        Comparison::NotEqual
    } else {
        tokens.expect("LIKE")?;
        Comparison::Like
    };
    let word = tokens.next()?;
    let quoted = word.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let value = match quoted {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(&word.to_lowercase()).map_err(|_| tokens.malformed(&word))?,
    };
    Ok(Condition {
        field,
        comparison,
        value,
    })
}

impl Condition {
    fn holds(&self, found: &Value) -> bool {
        match self.comparison {
            Comparison::Equal => same(found, &self.value),
            Comparison::NotEqual => !same(found, &self.value),
            Comparison::Like => match (found.as_str(), self.value.as_str()) {
                (Some(text), Some(pattern)) => like(&text.to_lowercase(), &pattern.to_lowercase()),
                _ => false,
            },
        }
    }
}

/// SOQL compares text without regard to case, and ids in either of their lengths.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found.as_str(), wanted.as_str()) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b) || (a.len() == 18 && short_id(a) == b),
        _ => found == wanted,
    }
}

fn like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('%') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|at| tail.is_char_boundary(*at))
                .any(|at| like(&tail[at..], rest))
        }),
    }
}

fn sort_key(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_lowercase)
}

fn entry<'a>(object: &str, record: &'a Record, field: &str) -> Result<(&'a String, &'a Value), QueryError> {
    record
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(field))
        .ok_or_else(|| QueryError {
            code: "INVALID_FIELD",
            message: format!("No such column '{field}' on entity '{object}'."),
        })
}

fn value<'a>(object: &str, record: &'a Record, field: &str) -> Result<&'a Value, QueryError> {
    entry(object, record, field).map(|(_, value)| value)
}

fn attributes(object: &str, record: &Record, root: &str) -> Value {
    let id = record.get("Id").and_then(Value::as_str).unwrap_or_default();
    json!({ "type": object, "url": format!("{root}/sobjects/{object}/{id}") })
}

/// The records of an object, and its name as Salesforce spells it.
fn table(org: &Org, users: &[&User], name: &str) -> Option<(String, Vec<Record>)> {
    let own = org
        .records
        .iter()
        .find(|(object, _)| object.eq_ignore_ascii_case(name));
    if let Some((object, records)) = own {
        return Some((object.clone(), records.clone()));
    }
    if name.eq_ignore_ascii_case("Organization") {
        return Some(("Organization".to_owned(), vec![organization(org)]));
    }
    let people = || users.iter().map(|user| person(user)).collect();
    name.eq_ignore_ascii_case("User")
        .then(|| ("User".to_owned(), people()))
}

fn organization(org: &Org) -> Record {
    let record = json!({
        "Id": long_id(&org.id), "Name": org.name, "IsSandbox": org.sandbox, "OrganizationType": org.edition,
        "InstanceName": "SIM1", "NamespacePrefix": null, "TrialExpirationDate": null,
        "LanguageLocaleKey": "en_US", "PrimaryContact": null,
    });
    record.as_object().cloned().unwrap_or_default()
}

fn person(user: &User) -> Record {
    let record = json!({
        "Id": long_id(&user.id), "Username": user.username, "Name": user.name, "Email": user.email,
        "IsActive": user.active, "UserType": "Standard", "Alias": "integ",
    });
    record.as_object().cloned().unwrap_or_default()
}

/// The list of objects.
pub(super) fn objects(org: &Org, users: &[&User]) -> Value {
    let names = org
        .records
        .keys()
        .map(String::as_str)
        .chain(["Organization", "User"]);
    let described: Vec<Value> = names.filter_map(|name| describe(org, users, name)).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": described })
}

/// The description of an object: its fields are those of its first record.
pub(super) fn describe(org: &Org, users: &[&User], name: &str) -> Option<Value> {
    let (object, records) = table(org, users, name)?;
    let field = |name: &String| json!({ "name": name, "label": name, "type": "string", "nillable": true });
    let fields: Vec<Value> = records
        .first()
        .map(|r| r.keys().map(field).collect())
        .unwrap_or_default();
    Some(json!({ "name": object, "label": object, "queryable": true, "fields": fields }))
}

/// One record.
pub(super) fn record(org: &Org, users: &[&User], root: &str, name: &str, id: &str) -> Option<Value> {
    let (object, records) = table(org, users, name)?;
    let wanted = json!(id);
    let mut record = records
        .into_iter()
        .find(|record| record.get("Id").is_some_and(|id| same(id, &wanted)))?;
    record.insert("attributes".to_owned(), attributes(&object, &record, root));
    Some(Value::Object(record))
}

#[cfg(test)]
mod tests {
    use super::{Query, like};
    use crate::sim::{Org, User};

    fn run(text: &str) -> Result<Vec<String>, &'static str> {
        let (org, user) = (Org::default(), User::default());
        let result = Query::parse(text).and_then(|query| query.run(&org, &[&user], "/services/data/v60.0"));
        let body = result.map_err(|error| error.code)?;
        let records = body["records"].as_array().cloned().unwrap_or_default();
        Ok(records
            .iter()
            .map(|record| record["Name"].as_str().unwrap_or_default().to_owned())
            .collect())
    }

    #[test]
    fn a_query_selects_filters_sorts_and_limits() {
        assert_eq!(
            run("SELECT Id, Name FROM Account"),
            Ok(vec!["Acme", "Globex", "Initech"]
                .into_iter()
                .map(str::to_owned)
                .collect())
        );
        assert_eq!(
            run("select name from account where Name = 'globex'"),
            Ok(vec!["Globex".to_owned()])
        );
        assert_eq!(
            run(
                "SELECT Name FROM Account WHERE Name LIKE '%e%' AND Name != 'Acme' ORDER BY Name DESC LIMIT 1"
            ),
            Ok(vec!["Initech".to_owned()])
        );
        assert_eq!(
            run("SELECT Name FROM User WHERE IsActive = true"),
            Ok(vec!["Integration User".to_owned()])
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_as_salesforce_does() {
        assert_eq!(run("SELECT Id FROM ScratchOrgInfo limit 1"), Err("INVALID_TYPE"));
        assert_eq!(run("SELECT Shoe FROM Account"), Err("INVALID_FIELD"));
        assert_eq!(run("SELECT Id FROM"), Err("MALFORMED_QUERY"));
        assert_eq!(run("SELECT Id FROM Account LIMIT many"), Err("MALFORMED_QUERY"));
    }

    #[test]
    fn a_pattern_matches_anywhere_its_percent_signs_allow() {
        assert!(like("acme", "%c%e"));
        assert!(!like("acme", "c%"));
    }
}
