//! JSON as Go's `encoding/json` reads it, over serde_json's parser and serde's derived types.
//!
//! Engines are written in Go and their configs rely on its rules (contract G3), which serde does not share:
//! member names match without regard to case, `null` and what is absent are the zero value, a repeated member
//! is decoded into what the earlier one has left, and what follows the document is not read. [`Pass`] stands
//! between the parser and the derived code and makes up for that in the same walk, at the price of a name
//! comparison per member. It also knows at every moment where in the document it is, so an error names the
//! config path at no cost while there is none.
//!
//! What a streaming parser cannot take back fails the walk: a capability that the enum does not know is left
//! out of the next walk, and for a repeated member the document is rewritten first (`repeat.rs`). See
//! [`decode`]. No I/O, no knowledge of the config beyond the tables below.

use super::repeat;
use super::words::Word;
use super::zero::{self, ABSENT, Kind};
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

/// The type whose lists may hold words that are left out rather than refused, and how its error begins.
const LENIENT: (&str, &str) = ("LinuxCapabilities", "no variant for ");

/// The type whose members may be empty texts, which its own parser refuses, and how that begins; what it was given
/// follows. An empty list of CPUs is none.
const CPUS: (&str, &str) = ("ExecCPUAffinity", "Invalid execCPUAffinity format: ");

/// Bytes of text that repeated walks may read in all. Every unknown capability costs a walk, so this is what a
/// hostile document can make us do: some 0.3 s.
const BUDGET: usize = 64 << 20;

/// Why a document could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Config path, empty for the whole document.
    pub path: String,
    pub text: String,
    /// 0 where there is none.
    pub line: usize,
}

/// A list item that was left out because its type does not know the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Name of the list, such as `bounding`.
    pub list: String,
    pub index: usize,
    pub word: String,
}

/// Decodes one document. Walks again as long as the failure is one of those that Go would not have had.
pub(super) fn decode<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<Dropped>), Fault> {
    // The lines are those of a text that nobody has seen.
    let again = |rewritten: &str| {
        decode_plain(rewritten).map_err(|refused| match refused {
            Refused::Fault(fault) | Refused::Repeated(fault) => Fault { line: 0, ..fault },
        })
    };
    decode_plain(text).or_else(|refused| match refused {
        Refused::Fault(fault) if fault.path == zero::SECCOMP => {
            zero::without_empty_seccomp(text).ok_or(fault).and_then(|rewritten| again(&rewritten))
        }
        Refused::Fault(fault) => Err(fault),
        Refused::Repeated(fault) => {
            let rewritten = repeat::merge(text).map_err(|error| Fault { text: spoken(&error), ..fault })?;
            again(&rewritten)
        }
    })
}

enum Refused {
    Fault(Fault),
    /// A member is there twice.
    Repeated(Fault),
}

/// Walks again, leaving one more item out, as long as it is a word that is to be left out.
fn decode_plain<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<Dropped>), Refused> {
    let mut skip: Vec<u32> = Vec::new();
    let mut budget = BUDGET;
    loop {
        let walk =
            Walk { skip: &skip, ordinal: Cell::new(0), failure: RefCell::new(None), dropped: RefCell::default() };
        let mut parser = serde_json::Deserializer::from_str(text);
        let pass = Pass { de: &mut parser, place: &Place::ROOT, walk: &walk };
        // What follows is not looked at: Go's decoder reads one value of a stream.
        let error = match T::deserialize(pass) {
            Ok(value) => return Ok((value, walk.dropped.into_inner())),
            Err(error) => error,
        };
        let failure = walk.failure.into_inner().unwrap_or_default();
        budget = budget.saturating_sub(text.len().max(1));
        match failure.remedy {
            Remedy::LeaveOut(ordinal) if budget > 0 => skip.push(ordinal),
            Remedy::Merge => return Err(Refused::Repeated(fault(&error, failure.path))),
            _ => return Err(Refused::Fault(fault(&error, failure.path))),
        }
    }
}

/// serde_json's error without its own position, which we print in our own way.
pub(super) fn spoken(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if error.line() > 0
        && let Some(at) = text.rfind(" at line ")
    {
        text.truncate(at);
    }
    text
}

fn fault(error: &serde_json::Error, mut path: String) -> Fault {
    let mut text = spoken(error);
    if let Some(member) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        path = if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") };
        text = "must be given".to_owned();
    }
    if let Some(list) = text.strip_prefix(CPUS.1) {
        let member = if path.ends_with("initial") { "Initial" } else { "Final" };
        text = format!("bad CPUAffinity.{member}: \"{}\", expected a list such as \"0-3,7\"", super::shown(list));
    }
    Fault { path, text, line: error.line() }
}

/// What one walk over the document shares.
struct Walk<'w> {
    /// Lenient items and members to leave out, by their ordinal, ascending.
    skip: &'w [u32],
    /// Lenient items and members met so far.
    ordinal: Cell<u32>,
    failure: RefCell<Option<Failure>>,
    dropped: RefCell<Vec<Dropped>>,
}

#[derive(Default)]
struct Failure {
    path: String,
    remedy: Remedy,
}

/// What would let the next walk come further.
#[derive(Default)]
enum Remedy {
    #[default]
    None,
    /// To leave out this lenient item.
    LeaveOut(u32),
    /// To make one member of two.
    Merge,
}

impl Walk<'_> {
    fn count(&self) -> u32 {
        let ordinal = self.ordinal.get().saturating_add(1);
        self.ordinal.set(ordinal);
        ordinal
    }

    fn skips(&self, ordinal: u32) -> bool {
        !self.skip.is_empty() && self.skip.binary_search(&ordinal).is_ok()
    }

    /// Remembers where an error came from; errors pass through here from the inside out, so the first wins.
    fn failed(&self, place: &Place<'_>, remedy: Remedy) {
        self.failure.borrow_mut().get_or_insert_with(|| Failure { path: place.to_string(), remedy });
    }
}

/// Where we are: a list on the stack, written out only when something went wrong.
pub(super) struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    /// Type that the member belongs to; empty for map keys and list items.
    pub owner: &'static str,
    pub step: Step<'p>,
}

pub(super) enum Step<'p> {
    Root,
    Member(&'p str),
    Item(usize),
}

impl Place<'_> {
    const ROOT: Place<'static> = Place { parent: None, owner: "", step: Step::Root };

    fn member<'p>(&'p self, owner: &'static str, name: &'p str) -> Place<'p> {
        Place { parent: Some(self), owner, step: Step::Member(name) }
    }

    fn item(&self, index: usize) -> Place<'_> {
        Place { parent: Some(self), owner: "", step: Step::Item(index) }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Member(name) if self.parent.is_none_or(|p| matches!(p.step, Step::Root)) => f.write_str(name),
            Step::Member(name) => write!(f, ".{name}"),
        }
    }
}

/// A deserializer, seed or visitor of serde's, accompanied by the place it works at.
struct Pass<'p, D> {
    de: D,
    place: &'p Place<'p>,
    walk: &'p Walk<'p>,
}

impl<'p, D> Pass<'p, D> {
    fn with<E>(&self, de: E) -> Pass<'p, E> {
        Pass { de, place: self.place, walk: self.walk }
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Pass<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.de.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let optional = Optional(self.with(visitor));
        self.de.deserialize_option(optional)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let list = List(self.with(visitor));
        self.de.deserialize_option(Kind::List.or_null(self.place, list))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let map = Map(self.with(visitor));
        self.de.deserialize_option(Kind::Object.or_null(self.place, map))
    }

    // As a map: serde would take a list for a struct as well, member by member.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let object = Struct { name, fields, pass: self.with(visitor) };
        self.de.deserialize_option(Kind::Object.or_null(self.place, object))
    }

    // As a string: every enum of the config is a word.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let word = Word { owner: self.place.owner, name, variants, visitor };
        self.de.deserialize_option(Kind::Text.or_null(self.place, word))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.de.deserialize_option(Kind::Bool.or_null(self.place, visitor))
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_u64(visitor)
    }

    // Every number is parsed in the same way; the visitor knows the range.
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.de.deserialize_option(Kind::Number.or_null(self.place, visitor))
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.de.deserialize_option(Kind::Text.or_null(self.place, visitor))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Pass<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<S::Value, D::Error> {
        let pass = self.with(de);
        self.de.deserialize(pass)
    }
}

struct Optional<'p, V>(Pass<'p, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for Optional<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.de.expecting(f)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.de.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.de.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, de: D) -> Result<V::Value, D::Error> {
        let pass = self.0.with(de);
        self.0.de.visit_some(pass)
    }
}

struct List<'p, V>(Pass<'p, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for List<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.de.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let items = self.0.with(seq);
        self.0.de.visit_seq(Items { pass: items, index: 0 })
    }
}

struct Items<'p, A> {
    pass: Pass<'p, A>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> Items<'_, A> {
    /// Takes the unknown word that an earlier walk stumbled over. False at the end of the list.
    fn drop_word(&mut self) -> Result<bool, A::Error> {
        let Some(word) = self.pass.de.next_element::<Option<String>>()? else { return Ok(false) };
        let word = word.unwrap_or_default();
        let list = if let Step::Member(name) = self.pass.place.step { name } else { "" };
        self.pass.walk.dropped.borrow_mut().push(Dropped { list: list.to_owned(), index: self.index, word });
        self.index += 1;
        Ok(true)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let walk = self.pass.walk;
        let mut ordinal = None;
        while self.pass.place.owner == LENIENT.0 {
            let this = walk.count();
            ordinal = Some(this);
            if !walk.skips(this) {
                break;
            }
            if !self.drop_word()? {
                return Ok(None);
            }
        }
        let place = self.pass.place.item(self.index);
        self.index += 1;
        self.pass.de.next_element_seed(Pass { de: seed, place: &place, walk }).inspect_err(|error| {
            let unknown = ordinal.filter(|_| error.to_string().starts_with(LENIENT.1));
            walk.failed(&place, unknown.map_or(Remedy::None, Remedy::LeaveOut));
        })
    }
}

struct Map<'p, V>(Pass<'p, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for Map<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let entries = self.0.with(map);
        self.0.de.visit_map(Entries { pass: entries, key: String::new() })
    }
}

/// The members of an object whose names are data: they are compared as they stand.
struct Entries<'p, A> {
    pass: Pass<'p, A>,
    key: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Pass { de, place, walk } = &mut self.pass;
        let name = de.next_key_seed(Name).inspect_err(|_| walk.failed(place, Remedy::None))?;
        let Some(key) = name else { return Ok(None) };
        self.key = key.into_owned();
        seed.deserialize(self.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let Pass { de, place, walk } = &mut self.pass;
        let place = place.member("", &self.key);
        value_of(de, seed, &place, walk, None)
    }
}

/// The value of a member. One that has an ordinal may be left out by the next walk if it is empty.
fn value_of<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    map: &mut A,
    seed: S,
    place: &Place<'_>,
    walk: &Walk<'_>,
    ordinal: Option<u32>,
) -> Result<S::Value, A::Error> {
    map.next_value_seed(Pass { de: seed, place, walk }).inspect_err(|error| {
        let empty = ordinal.filter(|_| error.to_string().split(" at line ").next() == Some(CPUS.1));
        walk.failed(place, empty.map_or(Remedy::None, Remedy::LeaveOut));
    })
}

struct Struct<'p, V> {
    name: &'static str,
    fields: &'static [&'static str],
    pass: Pass<'p, V>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Struct<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let pass = self.pass.with(map);
        let members = Members {
            pass,
            owner: self.name,
            fields: self.fields,
            met: [false; 32],
            now: Value::Default { name: "", value: "" },
        };
        self.pass.de.visit_map(members).inspect_err(|_| self.pass.walk.failed(self.pass.place, Remedy::None))
    }
}

/// The members of an object with known names.
struct Members<'p, A> {
    pass: Pass<'p, A>,
    owner: &'static str,
    fields: &'static [&'static str],
    /// Which fields have been met. No type of the config has more.
    met: [bool; 32],
    /// Where the value comes from that is asked for next.
    now: Value,
}

enum Value {
    Document { name: &'static str, ordinal: Option<u32> },
    Default { name: &'static str, value: &'static str },
}

/// Sections for other platforms: not read, as if they were unknown (config.md#platform-specific-configuration). Engines
/// that serve several platforms may leave empty ones behind, which the derived types refuse.
const FOREIGN: [(&str, &str); 3] = [("Spec", "solaris"), ("Spec", "windows"), ("Spec", "vm")];

impl<A> Members<'_, A> {
    /// Index and canonical spelling of a member: an exact match goes before one in another case, as in Go.
    fn find(&self, name: &str) -> Option<(usize, &'static str)> {
        let named = |same: fn(&str, &str) -> bool| {
            self.fields.iter().enumerate().find(|(_, field)| same(field, name)).map(|(i, field)| (i, *field))
        };
        let found = named(|field, name| field == name).or_else(|| named(repeat::same_name));
        found.filter(|(_, field)| !FOREIGN.contains(&(self.owner, *field)))
    }

    /// The next field that the document left out and that has a zero value.
    fn absent(&mut self) -> Option<(&'static str, &'static str)> {
        for (owner, field, value) in ABSENT {
            if *owner == self.owner
                && let Some((i, name)) = self.find(field)
                && let Some(met @ false) = self.met.get_mut(i)
            {
                *met = true;
                return Some((name, value));
            }
        }
        None
    }
}

impl<'de, A: MapAccess<'de>> Members<'_, A> {
    /// The name of the next member that counts. An error when it was there before.
    fn next_name(&mut self) -> Result<Option<&'static str>, A::Error> {
        while let Some(name) = self.pass.de.next_key_seed(Name)? {
            let Some((i, name)) = self.find(&name) else {
                self.pass.de.next_value::<IgnoredAny>()?;
                continue;
            };
            let ordinal = (self.owner == CPUS.0).then(|| self.pass.walk.count());
            if ordinal.is_some_and(|ordinal| self.pass.walk.skips(ordinal)) {
                self.pass.de.next_value::<IgnoredAny>()?;
                continue;
            }
            if let Some(met) = self.met.get_mut(i)
                && std::mem::replace(met, true)
            {
                self.pass.walk.failed(&self.pass.place.member(self.owner, name), Remedy::Merge);
                return Err(de::Error::custom("given more than once"));
            }
            self.now = Value::Document { name, ordinal };
            return Ok(Some(name));
        }
        Ok(None)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let name = match self.next_name()? {
            Some(name) => name,
            None => match self.absent() {
                Some((name, value)) => {
                    self.now = Value::Default { name, value };
                    name
                }
                None => return Ok(None),
            },
        };
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let Pass { de, place, walk } = &mut self.pass;
        match self.now {
            Value::Document { name, ordinal } => value_of(de, seed, &place.member(self.owner, name), walk, ordinal),
            Value::Default { name, value } => {
                let place = place.member(self.owner, name);
                let mut parser = serde_json::Deserializer::from_str(value);
                let value = seed.deserialize(Pass { de: &mut parser, place: &place, walk });
                let value = value.inspect_err(|_| walk.failed(&place, Remedy::None));
                value.map_err(|error| de::Error::custom(spoken(&error)))
            }
        }
    }
}

/// A member's name, borrowed from the document where it holds no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Cow<'de, str>, D::Error> {
        de.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
