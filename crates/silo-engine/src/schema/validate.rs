//! What a schema must be like.

use super::{DefaultValue, Field, FieldType, MAX_FIELDS, SCHEMA_VERSION, Schema};
use crate::error::{Error, Result};

/// The longest name of a field, in bytes.
const MAX_NAME_LEN: usize = 255;

impl Schema {
    /// The schema with all fields numbered, if it can be used.
    ///
    /// # Errors
    /// [`Error::Schema`] that names the field and says what to change.
    pub fn validated(mut self) -> Result<Self> {
        if self.version != SCHEMA_VERSION {
            return Err(Error::Schema(format!(
                "version {} is unknown, this program reads version {SCHEMA_VERSION}",
                self.version
            )));
        }
        check_name(&self.id.name, "the id")?;
        if !matches!(self.id.kind, FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::String) {
            return Err(Error::Schema(format!(
                "the id {:?} cannot have type {}: use an integer type or string",
                self.id.name,
                self.id.kind.name()
            )));
        }
        if self.fields.len() > usize::from(MAX_FIELDS) {
            return Err(Error::Schema(format!(
                "{} fields: at most {MAX_FIELDS} are possible",
                self.fields.len()
            )));
        }
        self.number_fields()?;
        for (at, field) in self.fields.iter().enumerate() {
            check_name(&field.name, &format!("field {}", at + 1))?;
            let twice = self.fields.iter().take(at).any(|before| before.name == field.name);
            if twice || field.name == self.id.name {
                return Err(Error::Schema(format!("two fields are named {:?}: rename one", field.name)));
            }
            check_kinds(field).map_err(|why| Error::Schema(format!("field {:?} {why}", field.name)))?;
            self.check_compute(field)?;
        }
        Ok(self)
    }

    /// Gives a number to every field that has none: the lowest above all that were given.
    fn number_fields(&mut self) -> Result<()> {
        let mut given: Vec<u16> = self.fields.iter().filter_map(|field| field.number).collect();
        given.sort_unstable();
        if let Some(twice) = given.windows(2).find(|pair| pair.first() == pair.last()) {
            let number = twice.first().copied().unwrap_or(0);
            return Err(Error::Schema(format!("two fields have number {number}: leave numbers out")));
        }
        let mut next = given.last().map_or(0, |last| last.saturating_add(1));
        for field in &mut self.fields {
            let number = *field.number.get_or_insert_with(|| {
                next += 1;
                next - 1
            });
            if number >= MAX_FIELDS {
                return Err(Error::Schema(format!(
                    "field {:?} has number {number}: numbers are below {MAX_FIELDS}",
                    field.name
                )));
            }
        }
        Ok(())
    }

    fn check_compute(&self, field: &Field) -> Result<()> {
        let Some(compute) = &field.compute else { return Ok(()) };
        let fail = |why: String| Err(Error::Schema(format!("field {:?} is computed: {why}", field.name)));
        if field.multi || !field.kind.is_integer() {
            return fail("it must have an integer or time type and one value".to_owned());
        }
        for name in compute.fields() {
            let Some(source) = self.fields.iter().find(|source| source.name == name) else {
                return fail(self.unknown_field(name));
            };
            if source.compute.is_some() {
                return fail(format!("{name:?} is computed as well, which is not possible"));
            }
            if source.multi || !source.kind.is_integer() {
                return fail(format!("{name:?} must have an integer or time type and one value"));
            }
        }
        for name in compute.part_fields() {
            if !self.fields.iter().any(|f| f.name == name && matches!(f.kind, FieldType::Time(_))) {
                return fail(format!("{name:?} must have a time type for parts of a date"));
            }
        }
        Ok(())
    }
}

fn check_name(name: &str, what: &str) -> Result<()> {
    let fail = |why: &str| Err(Error::Schema(format!("{what} is named {name:?}: {why}")));
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return fail("a name has 1 to 255 bytes");
    }
    if name.chars().any(|c| c.is_control() || c == '`') {
        return fail("a name has no control characters and no backticks");
    }
    Ok(())
}

fn check_kinds(field: &Field) -> Result<(), String> {
    let name = field.kind.name();
    if field.index.sort && field.multi {
        return Err("holds several values and cannot be sorted by: remove \"sort\"".to_owned());
    }
    if field.index.sort && field.kind == FieldType::String {
        return Err("is a string and cannot be sorted by: remove \"sort\"".to_owned());
    }
    if field.index.filter && field.index.high {
        return Err(
            "has both \"filter\" and \"high\": keep \"filter\" for up to some ten thousand values, else \"high\""
                .to_owned(),
        );
    }
    if field.index.high && field.kind == FieldType::Bool {
        return Err("is a bool: use \"filter\"".to_owned());
    }
    if matches!(field.kind, FieldType::Float(_)) && (field.index.filter || field.index.high) {
        return Err(format!("has type {name}: use \"sort\", which serves comparisons as well"));
    }
    if field.fold_case && field.kind != FieldType::String {
        return Err(format!("has type {name}: fold_case is for strings"));
    }
    if field.compute.is_some() && field.default.is_some() {
        return Err("is computed and cannot have a default".to_owned());
    }
    match &field.default {
        None => Ok(()),
        Some(DefaultValue::List(items)) if field.multi => {
            items.iter().try_for_each(|item| default_fits(field.kind, item))
        }
        Some(_) if field.multi => Err("holds several values: its default is a list".to_owned()),
        Some(one) => default_fits(field.kind, one),
    }
}

fn default_fits(kind: FieldType, default: &DefaultValue) -> Result<(), String> {
    match crate::value::Value::from_default(kind, default) {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("has an unusable default: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{Field, FieldType, IdField, IndexKinds, Schema};

    fn fault(fields: &str) -> String {
        let text = format!("id = {{ name = \"id\", type = \"i64\" }}\n{fields}");
        Schema::from_toml(&text).unwrap_err().to_string()
    }

    #[test]
    fn faults_name_the_field_and_the_way_out() {
        let field = |rest: &str| format!("[[fields]]\nname = \"f\"\n{rest}\n");
        let cases = [
            (field("type = \"int\""), "there are: bool, i8"),
            (field("type = \"i64\"\nindex = [\"btree\"]"), "filter, high, sort"),
            (field("type = \"string\"\nindex = [\"sort\"]"), "remove \"sort\""),
            (field("type = \"f64\"\nindex = [\"filter\"]"), "use \"sort\""),
            (field("type = \"i64\"\nindex = [\"sort\"]\nmulti = true"), "cannot be sorted by"),
            (field("type = \"i64\"\nindex = [\"filter\", \"high\"]"), "both"),
            (field("type = \"u8\"\ndefault = 256"), "0 to 255"),
            (field("type = \"u8\"\nmulti = true\ndefault = 2"), "its default is a list"),
            (field("type = \"u8\"\ncolour = 1"), "unknown field `colour`"),
            (field("type = \"u8\"\ncompute = \"x + 1\""), "no field is named \"x\""),
            (field("type = \"u8\"\ncompute = \"f\""), "computed as well"),
            (field("type = \"u8\"\nnumber = 9999"), "below 4096"),
            (field("type = \"u8\"") + &field("type = \"u8\""), "two fields are named \"f\""),
            ("[[fields]]\nname = \"id\"\ntype = \"u8\"".to_owned(), "two fields are named \"id\""),
            ("version = 2".to_owned(), "version 2 is unknown"),
        ];
        for (text, wanted) in cases {
            let fault = fault(&text);
            assert!(fault.contains(wanted), "{text}: {fault}");
        }
        let float_id = Schema::new(IdField::new("id", FieldType::Float(64)), vec![]);
        assert!(float_id.unwrap_err().to_string().contains("integer type or string"));
    }

    #[test]
    fn a_schema_survives_toml_and_keeps_its_numbers() {
        let id = IdField::new("id", FieldType::Signed(64));
        let a = Field::new("a", FieldType::Unsigned(32)).index(IndexKinds::none().filter().sort());
        let b = Field::new("b", FieldType::String).multi().index(IndexKinds::none().high());
        let old = Schema::new(id.clone(), vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(Schema::from_toml(&old.to_toml()).unwrap(), old);

        let c = Field::new("c", FieldType::Bool);
        let newer = Schema::new(id.clone(), vec![c, b.clone(), a.clone()]).unwrap();
        let evolved = old.evolve(&newer).unwrap();
        let numbers: Vec<u16> = evolved.fields.iter().map(Field::number).collect();
        assert_eq!(numbers, [2, 1, 0]);

        let other = Schema::new(id.clone(), vec![Field::new("a", FieldType::Bool), b]).unwrap();
        assert!(old.evolve(&other).unwrap_err().to_string().contains("type u32"));
        let fewer = Schema::new(id, vec![a]).unwrap();
        assert!(old.evolve(&fewer).unwrap_err().to_string().contains("\"b\" is missing"));
    }

    #[test]
    fn an_unknown_field_suggests_the_nearest() {
        let fields = vec![Field::new("reactionCount", FieldType::Unsigned(32))];
        let schema = Schema::new(IdField::new("id", FieldType::Signed(64)), fields).unwrap();
        let message = schema.field("reactioncounts").unwrap_err().to_string();
        assert!(message.contains("did you mean \"reactionCount\"?"), "{message}");
        assert!(schema.unknown_field("zzzzzzzz").contains("there are: id, reactionCount"));
    }
}
