//! `pipelines/arroyo/*.sql` against the functions that they call: they parse, and every name in them means something.
//!
//! Arroyo's planner is on no registry. Its dialect is that of Postgres with `WATERMARK FOR`, which is taken out first;
//! mistakes of other kinds only `POST /api/v1/pipelines/validate_query` of a running Arroyo finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CreateTable, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr,
    Statement, Value, visit_expressions,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::{contract, worked_example};

/// What the files call that is neither ours nor a column.
const FUNCTIONS: [&str; 4] = ["max", "session", "sum", "tumble"];

struct File {
    name: String,
    text: String,
    statements: Vec<Statement>,
}

fn files() -> Vec<File> {
    let folder = contract::here().join("../arroyo");
    let paths = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<File> = paths.filter(|path| path.extension().is_some_and(|e| e == "sql")).map(read).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn read(path: std::path::PathBuf) -> File {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let text = fs::read_to_string(path).expect("a file");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(watermark) = line.trim_start().strip_prefix("WATERMARK FOR ") {
            let (column, expression) = watermark.split_once(" AS ").expect("a column and an expression");
            check_watermark(&lines, column, expression);
            // It is the last item of its table.
            let last = lines.last_mut().expect("a column before it");
            *last = last.trim_end_matches(',').to_owned();
        } else {
            lines.push(line.to_owned());
        }
    }
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, &lines.join("\n"));
    File { statements: statements.unwrap_or_else(|error| panic!("{name}: {error}")), name, text }
}

/// The expression may not be NULL, so the column may not.
fn check_watermark(lines: &[String], column: &str, expression: &str) {
    let declared = format!("{column} TIMESTAMP NOT NULL,");
    assert!(lines.iter().any(|line| line.trim() == declared), "{declared}");
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(expression).and_then(|mut parser| parser.parse_expr());
    assert!(parsed.expect("an expression").to_string().contains(column), "{expression}");
}

fn file(name: &str) -> File {
    files().into_iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}"))
}

impl File {
    /// The columns of a table, as name and type.
    fn table(&self, name: &str) -> BTreeMap<String, String> {
        let columns = self.statements.iter().find_map(|statement| match statement {
            Statement::CreateTable(CreateTable { name: table, columns, .. }) if table.to_string() == name => {
                Some(columns)
            }
            _ => None,
        });
        let columns = columns.unwrap_or_else(|| panic!("{}: no table {name}", self.name));
        columns.iter().map(|column| (column.name.value.clone(), column.data_type.to_string())).collect()
    }

    /// The items of a view, or of the INSERT into a table.
    fn select(&self, name: &str) -> Vec<(String, Expr)> {
        let query = self.statements.iter().find_map(|statement| match statement {
            Statement::CreateView { name: view, query, .. } if view.to_string() == name => Some(query),
            Statement::Insert(insert) if insert.table.to_string() == name => insert.source.as_ref(),
            _ => None,
        });
        let mut body = &query.unwrap_or_else(|| panic!("{}: nothing fills {name}", self.name)).body;
        while let SetExpr::Query(inner) = body.as_ref() {
            body = &inner.body;
        }
        let SetExpr::Select(select) = body.as_ref() else { panic!("{name} is no SELECT") };
        let item = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(column)) => {
                (column.value.clone(), Expr::Identifier(column.clone()))
            }
            SelectItem::ExprWithAlias { expr, alias } => (alias.value.clone(), expr.clone()),
            other => panic!("{name}: {other} has no name"),
        };
        select.projection.iter().map(item).collect()
    }

    fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        let _ = visit_expressions(&self.statements, |expression| {
            if let Expr::Function(function) = expression {
                functions.push(function.clone());
            }
            ControlFlow::<()>::Continue(())
        });
        functions
    }
}

fn arguments(function: &Function) -> Vec<String> {
    let FunctionArguments::List(list) = &function.args else { panic!("{function}") };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => expression.to_string(),
        other => panic!("{other}"),
    };
    list.args.iter().map(argument).collect()
}

/// The key of `qoe->>'key'`, whatever it is cast to, and the type.
fn key(expression: &Expr) -> Option<(String, String)> {
    match expression {
        Expr::Cast { expr, data_type, .. } => key(expr).map(|(key, _)| (key, data_type.to_string())),
        Expr::BinaryOp { left, op: BinaryOperator::LongArrow, right } => {
            let Expr::Value(value) = right.as_ref() else { panic!("{right}") };
            let Value::SingleQuotedString(key) = &value.value else { panic!("{value}") };
            assert_eq!(left.to_string(), "qoe");
            Some((key.clone(), "TEXT".to_owned()))
        }
        _ => None,
    }
}

#[test]
fn every_file_says_what_it_does_and_how_to_submit_it() {
    let names: Vec<String> = files().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["minutes.sql", "sessions.sql", "sessions_to_delta.sql"]);
    for file in files() {
        let header: String = file.text.lines().take_while(|line| line.starts_with("--")).collect();
        for part in ["Submit:", "POST /api/v1/pipelines", "Limits", "Arroyo 0.15"] {
            assert!(header.contains(part), "{}: {part}", file.name);
        }
    }
}

#[test]
fn every_function_is_known() {
    for file in files() {
        for function in file.functions() {
            let name = function.name.to_string().to_lowercase();
            assert!(
                FUNCTIONS.contains(&&*name) || ["session_row", "text_word"].contains(&&*name),
                "{}: {name}",
                file.name
            );
        }
    }
}

/// The call is by position: each argument is the column that the parameter is named after.
#[test]
fn session_row_is_called_with_its_parameters() {
    let file = file("sessions.sql");
    let calls: Vec<Function> = file.functions().into_iter().filter(|f| f.name.to_string() == "session_row").collect();
    let [call] = calls.as_slice() else { panic!("one call") };
    assert_eq!(arguments(call), contract::parameters());
    let columns: BTreeSet<String> = file.select("session_columns").into_iter().map(|(name, _)| name).collect();
    for parameter in contract::parameters() {
        assert!(columns.contains(&parameter), "session_columns has no {parameter}");
    }
}

/// `x_2` is word 2 of `x`, a column with another type than BIGINT is cast, and every column exists.
#[test]
fn session_columns_are_what_their_names_say() {
    let file = file("sessions.sql");
    let (events, parameters) = (file.table("events"), contract::parameters());
    for (name, expression) in file.select("session_columns") {
        let (column, word) = name.rsplit_once('_').unwrap_or_default();
        let expected = match events.get(&name).map(String::as_str) {
            _ if name == "event_time_ms" => "raw_event_time_ms + clock_shift_ms".to_owned(),
            Some("BOOLEAN") => format!("CAST({name} AS BIGINT)"),
            Some(kind) => {
                assert!(kind == "BIGINT" || !parameters.contains(&name), "{name} is {kind}");
                name.clone()
            }
            None => {
                assert_eq!(events.get(column).map(String::as_str), Some("TEXT"), "{name}");
                format!("text_word({column}, {word})")
            }
        };
        assert_eq!(expression.to_string(), expected, "{name}");
    }
}

/// Every column of the row goes out under its own name, and the error as `problem`.
#[test]
fn the_sink_has_every_column_of_the_row() {
    let items = file("sessions.sql").select("sessions");
    let keys: BTreeMap<String, String> =
        items.iter().filter_map(|(name, expression)| Some((key(expression)?.0, name.clone()))).collect();
    let row = worked_example::row();
    let mut expected: BTreeMap<String, String> =
        row.as_object().expect("a row").keys().map(|key| (key.clone(), key.clone())).collect();
    expected.insert("error".to_owned(), "problem".to_owned());
    assert_eq!(keys, expected);
}

/// A number of the row is read as a number, a text as a text.
#[test]
fn the_sink_has_the_types_of_the_row() {
    let row = worked_example::row();
    for (name, expression) in file("sessions.sql").select("sessions") {
        let Some((key, kind)) = key(&expression) else { continue };
        let fits = match &row[&key] {
            serde_json::Value::Bool(_) => kind == "BOOLEAN",
            serde_json::Value::Number(number) => kind == if number.is_f64() { "DOUBLE" } else { "BIGINT" },
            serde_json::Value::String(_) => kind == "TEXT" || kind == "TIMESTAMP",
            _ => true,
        };
        assert!(fits, "{name} is read as {kind} and is {}", row[&key]);
    }
}

/// What the one pipeline writes is what the other reads.
#[test]
fn the_copy_to_delta_reads_what_the_sessions_pipeline_writes() {
    let sessions = file("sessions.sql");
    let events = sessions.table("events");
    let written: BTreeMap<String, String> = sessions
        .select("sessions")
        .into_iter()
        .map(|(name, expression)| {
            let kind = key(&expression).map_or_else(|| events[&name].clone(), |(_, kind)| kind);
            (name, kind)
        })
        .collect();
    assert_eq!(file("sessions_to_delta.sql").table("sessions"), written);
}
