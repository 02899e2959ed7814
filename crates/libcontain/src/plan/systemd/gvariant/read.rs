//! From text to a value: first its parts with what is known of their types, then the value.

use super::types::{self, Type};
use super::{DEEPEST, Fault};
use crate::plan::systemd::Value;

/// A part as it was written, at an offset.
#[derive(Debug)]
struct Node {
    offset: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Bool(bool),
    Whole(i128),
    Double(f64),
    Words(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Tuple(Vec<Node>),
    Entry(Box<(Node, Node)>),
    Variant(Box<Node>),
    Typed(Type, Box<Node>),
}

/// Reads one value; nothing but white space may be around it.
///
/// # Errors
/// What is no GVariant text, has no certain type, or cannot be sent over D-Bus.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(DEEPEST)?;
    reader.space();
    if reader.at < text.len() {
        return Fault::new(reader.at, "something follows the value");
    }
    node.build(&node.certain()?)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
    }

    /// Whether this comes next; if so it is passed.
    fn next_is(&mut self, c: char) -> bool {
        self.space();
        let there = self.rest().starts_with(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    fn expect(&mut self, c: char) -> Result<(), Fault> {
        if self.next_is(c) { Ok(()) } else { self.unexpected(&format!("expected '{c}'")) }
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, Fault> {
        match self.rest().chars().next() {
            Some(c) => Fault::new(self.at, format!("unexpected {c:?}, {expected}")),
            None => Fault::new(self.at, format!("unexpected end, {expected}")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.space();
        let offset = self.at;
        let Some(depth) = depth.checked_sub(1) else { return Fault::new(offset, "nested too deeply") };
        let what = match self.rest().as_bytes() {
            [b'[', ..] => What::Array(self.list('[', ']', depth)?),
            [b'(', ..] => self.tuple(depth)?,
            [b'{', ..] => self.dictionary(depth)?,
            [b'<', ..] => {
                self.expect('<')?;
                let inner = self.value(depth)?;
                self.expect('>')?;
                What::Variant(Box::new(inner))
            }
            [b'@', ..] => {
                self.at += 1;
                let word = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                let Some(of) = Type::parse(&word) else {
                    return Fault::new(offset, format!("{word:?} is no type of D-Bus"));
                };
                What::Typed(of, Box::new(self.value(depth)?))
            }
            [b'\'' | b'"', ..] => What::Words(self.string()?),
            [b'b', b'\'' | b'"', ..] => {
                self.at += 1;
                What::Bytes(self.byte_string()?)
            }
            _ => self.plain(depth)?,
        };
        Ok(Node { offset, what })
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Vec<Node>, Fault> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.next_is(close) {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.next_is(close) {
                return Ok(items);
            }
            self.expect(',')?;
        }
    }

    /// One member needs a comma: `(1,)`.
    fn tuple(&mut self, depth: usize) -> Result<What, Fault> {
        let offset = self.at;
        self.expect('(')?;
        if self.next_is(')') {
            return Fault::new(offset, "D-Bus has no empty tuple");
        }
        let mut items = vec![self.value(depth)?];
        self.expect(',')?;
        if self.next_is(')') {
            return Ok(What::Tuple(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.next_is(')') {
                return Ok(What::Tuple(items));
            }
            self.expect(',')?;
        }
    }

    /// `{KEY: VALUE, ...}`, or one entry of an array: `{KEY, VALUE}`.
    fn dictionary(&mut self, depth: usize) -> Result<What, Fault> {
        self.expect('{')?;
        let mut entries = Vec::new();
        if self.next_is('}') {
            let any = Type::Array(Box::new(Type::Entry(Box::new((Type::Any, Type::Any)))));
            return Ok(What::Typed(any, Box::new(Node { offset: self.at, what: What::Array(entries) })));
        }
        loop {
            self.space();
            let offset = self.at;
            let key = self.value(depth)?;
            if entries.is_empty() && self.next_is(',') {
                let value = self.value(depth)?;
                self.expect('}')?;
                return Ok(What::Entry(Box::new((key, value))));
            }
            self.expect(':')?;
            let value = self.value(depth)?;
            entries.push(Node { offset, what: What::Entry(Box::new((key, value))) });
            if self.next_is('}') {
                return Ok(What::Array(entries));
            }
            self.expect(',')?;
        }
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !of(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default().to_owned();
        self.at += end;
        word
    }

    /// A keyword or a number.
    fn plain(&mut self, depth: usize) -> Result<What, Fault> {
        let offset = self.at;
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        match word.as_str() {
            "" => self.unexpected("expected a value"),
            "true" => Ok(What::Bool(true)),
            "false" => Ok(What::Bool(false)),
            "just" | "nothing" => Fault::new(offset, "D-Bus has no maybe type"),
            "handle" => Fault::new(offset, "a descriptor cannot be written as text"),
            word => match types::keyword(word) {
                Some(of) => Ok(What::Typed(of, Box::new(self.value(depth)?))),
                None => number(word)
                    .map_or_else(|| Fault::new(offset, format!("{word:?} is neither a number nor a keyword")), Ok),
            },
        }
    }

    fn quote(&mut self) -> char {
        let quote = self.rest().chars().next().unwrap_or('\'');
        self.at += quote.len_utf8();
        quote
    }

    fn character(&mut self) -> Result<char, Fault> {
        let Some(c) = self.rest().chars().next() else { return Fault::new(self.at, "unterminated string") };
        self.at += c.len_utf8();
        Ok(c)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let quote = self.quote();
        let mut text = String::new();
        loop {
            match self.character()? {
                c if c == quote => return Ok(text),
                '\\' => match self.character()? {
                    'u' => text.push(self.unicode(4)?),
                    'U' => text.push(self.unicode(8)?),
                    '\n' => {}
                    c => text.push(control(c).unwrap_or(c)),
                },
                c => text.push(c),
            }
        }
    }

    fn unicode(&mut self, digits: usize) -> Result<char, Fault> {
        let offset = self.at;
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => Fault::new(offset, format!("expected {digits} hexadecimal digits of a character")),
        }
    }

    /// Bytes up to the NUL that belongs to them.
    fn byte_string(&mut self) -> Result<Vec<u8>, Fault> {
        let quote = self.quote();
        let mut bytes = Vec::new();
        let push = |bytes: &mut Vec<u8>, c: char| bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
        loop {
            match self.character()? {
                c if c == quote => break,
                '\\' => {
                    let offset = self.at;
                    match self.character()? {
                        '0'..='7' => {
                            let octal = self.text.get(offset..).unwrap_or_default();
                            let digits = octal.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                            let number = octal.get(..digits).and_then(|text| u8::from_str_radix(text, 8).ok());
                            let Some(byte) = number else { return Fault::new(offset, "expected an octal byte") };
                            bytes.push(byte);
                            self.at = offset + digits;
                        }
                        '\n' => {}
                        c => push(&mut bytes, control(c).unwrap_or(c)),
                    }
                }
                c => push(&mut bytes, c),
            }
        }
        bytes.push(0);
        Ok(bytes)
    }
}

/// The character that a letter stands for after a backslash.
fn control(c: char) -> Option<char> {
    Some(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

/// As strtoll(3) and strtod(3) read them: `0x1f`, `017`, `-5`, `1e3`, `inf`.
fn number(word: &str) -> Option<What> {
    let (negative, digits) = match word.strip_prefix(['-', '+']) {
        Some(rest) => (word.starts_with('-'), rest),
        None => (false, word),
    };
    if digits.starts_with(['-', '+', '_']) {
        return None;
    }
    let whole = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(['-', '+']) => return None,
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => {
            i128::from_str_radix(digits, 8).ok()
        }
        None => digits.parse::<i128>().ok(),
    };
    if let Some(whole) = whole {
        return Some(What::Whole(if negative { -whole } else { whole }));
    }
    let is_double = digits.contains(['.', 'e', 'E']) || ["inf", "infinity", "nan"].contains(&digits);
    let double = digits.parse::<f64>().ok().filter(|_| is_double)?;
    Some(What::Double(if negative { -double } else { double }))
}

impl Node {
    /// What is known of its type.
    fn guess(&self) -> Result<Type, Fault> {
        Ok(match &self.what {
            What::Bool(_) => Type::Basic(b'b'),
            What::Whole(_) => Type::Number,
            What::Double(_) => Type::Basic(b'd'),
            What::Words(_) => Type::Words,
            What::Bytes(_) => Type::Array(Box::new(Type::Basic(b'y'))),
            What::Array(items) => {
                let mut element = Type::Any;
                for item in items {
                    let of = item.guess()?;
                    element = element
                        .unify(of)
                        .map_or_else(|| Fault::new(item.offset, "unable to find a common type of the elements"), Ok)?;
                }
                Type::Array(Box::new(element))
            }
            What::Tuple(items) => Type::Struct(items.iter().map(Node::guess).collect::<Result<_, _>>()?),
            What::Entry(entry) => Type::Entry(Box::new((entry.0.guess()?, entry.1.guess()?))),
            What::Variant(inner) => {
                inner.guess()?;
                Type::Variant
            }
            What::Typed(of, inner) => match inner.guess()?.unify(of.clone()) {
                Some(both) => both,
                None => return Fault::new(inner.offset, format!("this is no value of type '{}'", of.signature())),
            },
        })
    }

    /// Its type, without a hole and such as D-Bus has.
    fn certain(&self) -> Result<Type, Fault> {
        let Some(of) = self.guess()?.whole() else {
            return Fault::new(self.offset, "unable to infer the type of an empty array");
        };
        if matches!(of, Type::Entry(_)) {
            return Fault::new(self.offset, "an entry stands in an array");
        }
        if !of.is_sendable() {
            return Fault::new(self.offset, "D-Bus has no such type");
        }
        Ok(of)
    }

    /// The value, as one of this type.
    fn build(&self, of: &Type) -> Result<Value, Fault> {
        let wrong = || Fault::new(self.offset, format!("this is no value of type '{}'", of.signature()));
        match (&self.what, of) {
            (What::Typed(_, inner), of) => inner.build(of),
            (What::Bool(value), Type::Basic(b'b')) => Ok(Value::Bool(*value)),
            #[expect(clippy::cast_precision_loss, reason = "as strtod reads it")]
            (What::Whole(value), Type::Basic(b'd')) => Ok(Value::Double((*value as f64).to_bits())),
            (What::Whole(value), Type::Basic(letter)) => types::number(*value, *letter).map_or_else(
                || Fault::new(self.offset, format!("{value} is out of range for type '{}'", of.signature())),
                Ok,
            ),
            (What::Double(value), Type::Basic(b'd')) => Ok(Value::Double(value.to_bits())),
            (What::Words(text), Type::Basic(letter)) => types::words(text.clone(), *letter).map_or_else(wrong, Ok),
            (What::Bytes(bytes), Type::Array(_)) => {
                Ok(Value::Array("y".to_owned(), bytes.iter().copied().map(Value::Byte).collect()))
            }
            (What::Array(items), Type::Array(element)) => {
                let items = items.iter().map(|item| item.build(element)).collect::<Result<_, _>>()?;
                Ok(Value::Array(element.signature(), items))
            }
            (What::Tuple(items), Type::Struct(members)) => {
                let items = items.iter().zip(members).map(|(item, of)| item.build(of)).collect::<Result<_, _>>()?;
                Ok(Value::Struct(items))
            }
            (What::Entry(entry), Type::Entry(types)) if matches!(types.0, Type::Basic(_)) => {
                Ok(Value::Entry(Box::new((entry.0.build(&types.0)?, entry.1.build(&types.1)?))))
            }
            (What::Variant(inner), Type::Variant) => Ok(Value::Variant(Box::new(inner.build(&inner.certain()?)?))),
            _ => wrong(),
        }
    }
}
