//! JSON as Go's `encoding/json` reads it, over serde_json's parser and serde's derived types.
//!
//! Engines are written in Go and their configs rely on its rules (contract G3), which serde does not share:
//! member names match without regard to case, a `null` member is an absent one, of a repeated member the last
//! counts, and what is absent is the zero value. [`Pass`] stands between the parser and the derived code and
//! makes up for that in the same walk, at the price of a name comparison per member. It also knows at every
//! moment where in the document it is, so an error names the config path at no cost while there is none.
//!
//! What a streaming parser cannot take back (the first of two equal members, a `null` for a plain number, a
//! capability that the enum does not know) fails the walk, and the next walk leaves that one out: see
//! [`decode`]. No I/O, no knowledge of the config beyond the tables below.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

/// Go's zero value for members whose absence the derived types refuse: (type, member, value). Where nothing
/// sensible comes of it, such as an empty `cwd`, the checks say so, together with whatever else they find.
const ABSENT: &[(&str, &str, &str)] = &[
    ("Hook", "path", "\"\""),
    ("LinuxIOPriority", "class", "\"\""),
    ("LinuxMemoryPolicy", "mode", "\"\""),
    ("LinuxPersonality", "domain", "\"\""),
    ("LinuxSeccompArg", "index", "0"),
    ("LinuxSeccompArg", "value", "0"),
    ("Mount", "destination", "\"\""),
    ("Process", "cwd", "\"\""),
    ("Process", "user", "{}"),
    ("Scheduler", "policy", "\"\""),
];

/// How to refuse a word that an enum does not hold, by the type of the enum or, before that, of its owner; `@`
/// stands for the word. runc's texts where it has one.
const WORDS: &[(&str, &str)] = &[
    ("LinuxDeviceCgroup", "invalid cgroup device type \"@\""),
    ("Arch", "string @ is not a valid arch for seccomp"),
    ("IOPriorityClass", "invalid ioPriority.Class: \"@\""),
    ("LinuxDeviceType", "invalid device type \"@\""),
    ("LinuxNamespaceType", "namespace \"@\" does not exist"),
    ("LinuxPersonalityDomain", "invalid personality domain @"),
    ("LinuxSchedulerFlag", "invalid scheduler flag: @"),
    ("LinuxSchedulerPolicy", "invalid scheduler policy: @"),
    ("LinuxSeccompAction", "string @ is not a valid action for seccomp"),
    ("LinuxSeccompFilterFlag", "seccomp flag @ is not known to runc"),
    ("LinuxSeccompOperator", "string @ is not a valid operator for seccomp"),
    ("MemoryPolicyFlagType", "invalid memory policy flag \"@\""),
    ("MemoryPolicyModeType", "invalid memory policy mode \"@\""),
    ("PosixRlimitType", "wrong rlimit value: @"),
];

/// How to refuse no word at all, where runc has a text of its own for that.
const NO_WORD: (&str, &str) = ("LinuxSchedulerPolicy", "scheduler policy is required");

/// Words of the spec that oci-spec 0.10 spells differently: (type, spec, oci-spec).
const SPELLINGS: &[(&str, &str, &str)] = &[
    ("LinuxSchedulerFlag", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ("LinuxSchedulerFlag", "SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
];

/// The type whose lists may hold words that are left out rather than refused, and how its error begins.
const LENIENT: (&str, &str) = ("LinuxCapabilities", "no variant for ");

/// How oci-spec refuses a list of CPUs; what it was given follows.
const CPUS: &str = "Invalid execCPUAffinity format: ";

/// Bytes of text that repeated walks may read in all. Every `null` in a plain member and every repeated member
/// costs a walk, so this is what a hostile document can make us do: some 0.3 s.
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

/// Decodes one document. Walks again, leaving one more item out, as long as the failure is one of those that
/// Go would not have had.
pub(super) fn decode<'de, T: Deserialize<'de>>(text: &'de str) -> Result<(T, Vec<Dropped>), Fault> {
    let mut skip: Vec<u32> = Vec::new();
    let mut budget = BUDGET;
    loop {
        let walk =
            Walk { skip: &skip, ordinal: Cell::new(0), failure: RefCell::new(None), dropped: RefCell::default() };
        let mut parser = serde_json::Deserializer::from_str(text);
        let pass = Pass { de: &mut parser, place: &Place::ROOT, walk: &walk };
        let error = match T::deserialize(pass).and_then(|value| parser.end().map(|()| value)) {
            Ok(value) => return Ok((value, walk.dropped.into_inner())),
            Err(error) => error,
        };
        let failure = walk.failure.into_inner().unwrap_or_default();
        budget = budget.saturating_sub(text.len().max(1));
        match failure.without {
            // Ordinals beyond this one move, because what they counted may stand inside what is left out now.
            Some(ordinal) if budget > 0 => {
                skip.retain(|s| *s < ordinal);
                skip.push(ordinal);
            }
            _ => return Err(fault(&error, failure.path)),
        }
    }
}

/// serde_json's error without its own position, which we print in our own way.
fn fault(error: &serde_json::Error, mut path: String) -> Fault {
    let mut text = error.to_string();
    if error.line() > 0
        && let Some(at) = text.rfind(" at line ")
    {
        text.truncate(at);
    }
    if let Some(member) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        path = if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") };
        text = "must be given".to_owned();
    }
    if let Some(list) = text.strip_prefix(CPUS) {
        let member = if path.ends_with("initial") { "Initial" } else { "Final" };
        text = format!("bad CPUAffinity.{member}: \"{}\", expected a list such as \"0-3,7\"", super::shown(list));
    }
    Fault { path, text, line: error.line() }
}

/// What one walk over the document shares.
struct Walk<'w> {
    /// Members and lenient items to leave out, by their ordinal, ascending.
    skip: &'w [u32],
    /// Members and lenient items met so far.
    ordinal: Cell<u32>,
    failure: RefCell<Option<Failure>>,
    dropped: RefCell<Vec<Dropped>>,
}

#[derive(Default)]
struct Failure {
    path: String,
    /// Try again without this one.
    without: Option<u32>,
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
    fn failed(&self, place: &Place<'_>, without: Option<u32>) {
        self.failure.borrow_mut().get_or_insert_with(|| Failure { path: place.to_string(), without });
    }

    fn is_innermost(&self) -> bool {
        self.failure.borrow().is_none()
    }
}

/// Where we are: a list on the stack, written out only when something went wrong.
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    /// Type that the member belongs to; empty for map keys and list items.
    owner: &'static str,
    step: Step<'p>,
}

enum Step<'p> {
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
        self.de.deserialize_seq(list)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let map = Map(self.with(visitor));
        self.de.deserialize_map(map)
    }

    // As a map: serde would take a list for a struct as well, member by member.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let object = Struct { name, fields, pass: self.with(visitor) };
        self.de.deserialize_map(object)
    }

    // As a string: every enum of the config is a word.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.de.deserialize_str(Word { owner: self.place.owner, name, variants, visitor })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
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
        let Some(word) = self.pass.de.next_element()? else { return Ok(false) };
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
            walk.failed(&place, ordinal.filter(|_| error.to_string().starts_with(LENIENT.1)));
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
        self.0.de.visit_map(Entries { pass: entries, key: String::new(), ordinal: 0 })
    }
}

/// The members of an object whose names are data: they are compared as they stand.
struct Entries<'p, A> {
    pass: Pass<'p, A>,
    key: String,
    ordinal: u32,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Pass { de, place, walk } = &mut self.pass;
        loop {
            let Some(key) = de.next_key_seed(Name).inspect_err(|_| walk.failed(place, None))? else { return Ok(None) };
            self.ordinal = walk.count();
            if walk.skips(self.ordinal) {
                de.next_value::<IgnoredAny>()?;
                continue;
            }
            self.key = key.into_owned();
            return seed.deserialize(self.key.as_str().into_deserializer()).map(Some);
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let Pass { de, place, walk } = &mut self.pass;
        let place = place.member("", &self.key);
        value_of(de, seed, &place, walk, self.ordinal)
    }
}

/// The value of a member. A `null` or nothing that its type does not take is left out by the next walk.
fn value_of<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    map: &mut A,
    seed: S,
    place: &Place<'_>,
    walk: &Walk<'_>,
    ordinal: u32,
) -> Result<S::Value, A::Error> {
    map.next_value_seed(Pass { de: seed, place, walk }).inspect_err(|error| {
        let text = if walk.is_innermost() { error.to_string() } else { String::new() };
        // An empty list of CPUs is none.
        let absent = text.starts_with("invalid type: null,") || text.split(" at line ").next() == Some(CPUS);
        walk.failed(place, absent.then_some(ordinal));
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
        let members =
            Members { pass, owner: self.name, fields: self.fields, met: [0; 32], now: Value::Default("", "") };
        self.pass.de.visit_map(members).inspect_err(|_| self.pass.walk.failed(self.pass.place, None))
    }
}

/// The members of an object with known names.
struct Members<'p, A> {
    pass: Pass<'p, A>,
    owner: &'static str,
    fields: &'static [&'static str],
    /// Ordinal of each field met, 0 before that. No type of the config has more fields.
    met: [u32; 32],
    /// Where the value comes from that is asked for next.
    now: Value,
}

enum Value {
    Document {
        name: &'static str,
        ordinal: u32,
    },
    /// Name and zero value.
    Default(&'static str, &'static str),
}

impl<A> Members<'_, A> {
    /// Index and canonical spelling of a member: an exact match goes before one in another case, as in Go.
    fn find(&self, name: &str) -> Option<(usize, &'static str)> {
        let named = |same: fn(&str, &str) -> bool| {
            self.fields.iter().enumerate().find(|(_, field)| same(field, name)).map(|(i, field)| (i, *field))
        };
        named(|field, name| field == name).or_else(|| named(str::eq_ignore_ascii_case))
    }

    /// The next field that the document left out and that has a zero value.
    fn absent(&mut self) -> Option<(&'static str, &'static str)> {
        for (owner, field, value) in ABSENT {
            if *owner == self.owner
                && let Some((i, name)) = self.find(field)
                && let Some(met @ 0) = self.met.get_mut(i)
            {
                *met = u32::MAX;
                return Some((name, value));
            }
        }
        None
    }
}

impl<'de, A: MapAccess<'de>> Members<'_, A> {
    /// The name of the next member that counts. Errors when it was there before: the next walk leaves out the
    /// first of the two.
    fn next_name(&mut self) -> Result<Option<&'static str>, A::Error> {
        let walk = self.pass.walk;
        while let Some(name) = self.pass.de.next_key_seed(Name)? {
            let Some((i, name)) = self.find(&name) else {
                self.pass.de.next_value::<IgnoredAny>()?;
                continue;
            };
            let ordinal = walk.count();
            if walk.skips(ordinal) {
                self.pass.de.next_value::<IgnoredAny>()?;
                continue;
            }
            match self.met.get_mut(i) {
                Some(met @ 0) => *met = ordinal,
                Some(first) => {
                    walk.failed(&self.pass.place.member(self.owner, name), Some(*first));
                    return Err(de::Error::custom("given too often"));
                }
                None => {}
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
                    self.now = Value::Default(name, value);
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
            Value::Document { name, ordinal } => {
                let place = place.member(self.owner, name);
                value_of(de, seed, &place, walk, ordinal)
            }
            // serde_json again, so that no type is compiled for a second parser.
            Value::Default(name, text) => {
                let place = place.member(self.owner, name);
                let mut parser = serde_json::Deserializer::from_str(text);
                seed.deserialize(Pass { de: &mut parser, place: &place, walk }).map_err(|error| {
                    walk.failed(&place, None);
                    // Its position is one in the zero value.
                    de::Error::custom(error.to_string().split(" at line ").next().unwrap_or_default())
                })
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

/// An enum's word.
struct Word<V> {
    owner: &'static str,
    name: &'static str,
    variants: &'static [&'static str],
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Word<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<V::Value, E> {
        if self.variants.contains(&word) {
            return self.visitor.visit_enum(word.into_deserializer());
        }
        if let Some((_, _, ours)) = SPELLINGS.iter().find(|(name, spec, _)| *name == self.name && *spec == word) {
            return self.visitor.visit_enum((*ours).into_deserializer());
        }
        let row = WORDS.iter().find(|(name, _)| *name == self.owner || *name == self.name);
        let pattern = match row {
            _ if word.is_empty() && self.name == NO_WORD.0 => NO_WORD.1,
            Some((_, text)) => text,
            None => "unknown word \"@\"",
        };
        let mut text = pattern.replacen('@', &super::shown(word), 1);
        if self.variants.len() <= 16 {
            text = format!("{text}, expected one of {}", self.variants.join(", "));
        }
        Err(E::custom(text))
    }
}
