//! D-Bus messages as bytes: method calls are encoded, whatever comes back is decoded.
//!
//! Owns the format of messages, signatures and values (D-Bus specification, "Marshaling"). Pure.
//!
//! Invariants: nothing that arrives makes this panic, recurse deeper than [`DEPTH`] or take more memory than a constant times
//! what has arrived. What leaves is well-formed, because a bus hangs up on whoever sends anything else: a value that has no
//! encoding is an error and not a message.
//!
//! Must not enter: sockets, serials that are given out, and which calls there are.

use std::fmt;

use crate::plan::systemd::Value;

/// So deep may containers be nested in one another: 32 arrays in 32 structs by the specification; nobody asks for more.
const DEPTH: u32 = 32;
/// The longest message by the specification: 128 MiB.
const LONGEST: usize = 1 << 27;
/// The header's part before its fields: order of bytes, type, flags, version, length of the body, serial, length of the fields.
const FIXED: usize = 16;
/// No further than this a reply is looked at: those that are waited for are a hundred bytes long.
pub(crate) const MESSAGE: usize = 1 << 18;

const CALL: u8 = 1;
const VERSION: u8 = 1;

/// Why bytes are no message, or why a value cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// A method call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The name of whom it is for; `None` where nobody stands between.
    pub destination: Option<&'a str>,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub body: &'a [Value],
}

/// A message that has arrived. What a message of its kind has not got is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: Kind,
    /// The serial of the call that this answers.
    pub reply_to: Option<u32>,
    pub path: String,
    pub interface: String,
    pub member: String,
    /// Name of an error.
    pub error: String,
    pub sender: String,
    pub body: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reply,
    Error,
    Signal,
    /// A call, or a kind of message that is still to be invented.
    Other,
}

// --- signatures -----------------------------------------------------------------------------------------------------

/// The first complete type of a signature, and the rest.
fn first_type(signature: &str, depth: u32) -> Result<(&str, &str)> {
    const WRONG: Malformed = Malformed("a signature that is none");
    let depth = depth.checked_sub(1).ok_or(Malformed("types nested too deeply"))?;
    let inner = |skip: usize| signature.get(skip..).ok_or(WRONG);
    let rest = match signature.as_bytes() {
        [b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v', ..] => inner(1)?,
        [b'a', b'{', key, ..] if key.is_ascii_alphabetic() && !b"av".contains(key) => {
            let (_, rest) = first_type(inner(2)?, depth)?;
            let (_, rest) = first_type(rest, depth)?;
            rest.strip_prefix('}').ok_or(WRONG)?
        }
        [b'a', ..] => first_type(inner(1)?, depth)?.1,
        [b'(', ..] => {
            let mut rest = first_type(inner(1)?, depth)?.1; // an empty struct there is not
            while !rest.starts_with(')') {
                rest = first_type(rest, depth)?.1;
            }
            rest.get(1..).ok_or(WRONG)?
        }
        _ => return Err(WRONG),
    };
    signature.split_at_checked(signature.len() - rest.len()).ok_or(WRONG)
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        match first_type(rest, DEPTH) {
            Ok((_, after)) => rest = after,
            Err(_) => return false,
        }
    }
    text.len() <= 255
}

fn is_path(text: &str) -> bool {
    let name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|names| names.split('/').all(name))
}

/// The boundary that values of a type begin at.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

fn signature_of(value: &Value) -> String {
    match value {
        Value::Byte(_) => "y".into(),
        Value::Bool(_) => "b".into(),
        Value::I16(_) => "n".into(),
        Value::U16(_) => "q".into(),
        Value::I32(_) => "i".into(),
        Value::U32(_) => "u".into(),
        Value::I64(_) => "x".into(),
        Value::U64(_) => "t".into(),
        Value::Double(_) => "d".into(),
        Value::Text(_) => "s".into(),
        Value::Path(_) => "o".into(),
        Value::Signature(_) => "g".into(),
        Value::Variant(_) => "v".into(),
        Value::Array(element, _) => format!("a{element}"),
        Value::Struct(members) => format!("({})", members.iter().map(signature_of).collect::<String>()),
        Value::Entry(pair) => format!("{{{}{}}}", signature_of(&pair.0), signature_of(&pair.1)),
    }
}

// --- encoding -------------------------------------------------------------------------------------------------------

/// The bytes of a call.
///
/// # Errors
/// A value that has no encoding: a text with a NUL, a path that is none, an array of this and that.
pub(crate) fn encode(serial: u32, call: &Call<'_>) -> Result<Vec<u8>> {
    let mut fields = vec![
        (1, Value::Path(call.path.to_owned())),
        (2, Value::Text(call.interface.to_owned())),
        (3, Value::Text(call.member.to_owned())),
    ];
    fields.extend(call.destination.map(|name| (6, Value::Text(name.to_owned()))));
    encode_any(CALL, serial, fields, call.body)
}

/// The bytes of a message of any type: header fields by their number.
pub(super) fn encode_any(kind: u8, serial: u32, mut fields: Vec<(u8, Value)>, body: &[Value]) -> Result<Vec<u8>> {
    let mut encoded = Writer::default();
    let mut signature = String::new();
    for value in body {
        encoded.value(value, DEPTH)?;
        signature.push_str(&signature_of(value));
    }
    if !signature.is_empty() {
        fields.push((8, Value::Signature(signature)));
    }
    let field = |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    let fields = Value::Array("(yv)".to_owned(), fields.into_iter().map(field).collect());
    let mut message = Writer(vec![b'l', kind, 0, VERSION]);
    message.u32(encoded.length()?);
    message.u32(serial);
    message.value(&fields, DEPTH)?;
    message.align(8);
    message.0.append(&mut encoded.0);
    if message.0.len() > LONGEST { Err(Malformed("a message longer than 128 MiB")) } else { Ok(message.0) }
}

/// Little-endian; positions count from the beginning of the message, or of the body, which begins at a boundary of 8.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn length(&self) -> Result<u32> {
        u32::try_from(self.0.len()).map_err(|_| Malformed("a body that is too long"))
    }

    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend_from_slice(&bytes);
    }

    fn u32(&mut self, number: u32) {
        self.fixed(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(Malformed("a text with a NUL in it"));
        }
        self.u32(u32::try_from(text.len()).map_err(|_| Malformed("a text that is too long"))?);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        Ok(())
    }

    fn signature(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).map_err(|_| Malformed("a signature that is too long"))?;
        if !is_signature(text) {
            return Err(Malformed("a signature that is none"));
        }
        self.0.push(length);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: u32) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or(Malformed("values nested too deeply"))?;
        match value {
            Value::Byte(byte) => self.0.push(*byte),
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::I16(number) => self.fixed(number.to_le_bytes()),
            Value::U16(number) => self.fixed(number.to_le_bytes()),
            Value::I32(number) => self.fixed(number.to_le_bytes()),
            Value::U32(number) => self.u32(*number),
            Value::I64(number) => self.fixed(number.to_le_bytes()),
            Value::U64(number) | Value::Double(number) => self.fixed(number.to_le_bytes()),
            Value::Text(text) => self.text(text)?,
            Value::Path(path) if !is_path(path) => return Err(Malformed("an object path that is none")),
            Value::Path(path) => self.text(path)?,
            Value::Signature(text) => self.signature(text)?,
            Value::Variant(inner) => {
                self.signature(&signature_of(inner))?;
                self.value(inner, depth)?;
            }
            Value::Struct(members) if members.is_empty() => return Err(Malformed("a struct without members")),
            Value::Struct(members) => {
                self.align(8);
                members.iter().try_for_each(|member| self.value(member, depth))?;
            }
            Value::Entry(pair) => {
                self.align(8);
                self.value(&pair.0, depth)?;
                self.value(&pair.1, depth)?;
            }
            Value::Array(element, values) => self.array(element, values, depth)?,
        }
        Ok(())
    }

    fn array(&mut self, element: &str, values: &[Value], depth: u32) -> Result<()> {
        if !is_signature(&format!("a{element}")) || values.iter().any(|value| signature_of(value) != *element) {
            return Err(Malformed("an array whose elements are not of its type"));
        }
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment(element)); // not counted, and there also without elements
        let start = self.0.len();
        values.iter().try_for_each(|value| self.value(value, depth))?;
        let length = u32::try_from(self.0.len() - start).ok().filter(|length| *length <= 1 << 26);
        let length = length.ok_or(Malformed("an array longer than 64 MiB"))?.to_le_bytes();
        for (to, from) in self.0.iter_mut().skip(length_at).zip(length) {
            *to = from;
        }
        Ok(())
    }
}

// --- decoding -------------------------------------------------------------------------------------------------------

/// How long the message is that these bytes begin with; `None`: too few to tell.
///
/// # Errors
/// They begin no message.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < FIXED {
        return Ok(None);
    }
    let mut header = Reader::of_message(bytes)?;
    header.at = 4;
    let body = header.size()?;
    header.u32()?; // the serial
    let fields = header.size()?;
    let whole = FIXED.checked_add(fields).and_then(|n| n.checked_next_multiple_of(8)).and_then(|n| n.checked_add(body));
    let whole = whole.filter(|whole| *whole <= LONGEST).ok_or(Malformed("a message longer than 128 MiB"))?;
    Ok(Some(whole))
}

/// Whether the message that begins like this is a reply or an error, which a bus lets nobody send who was not asked.
pub(crate) fn is_answer(bytes: &[u8]) -> bool {
    matches!(bytes.get(1), Some(2 | 3))
}

/// The message that is these bytes, all of them: see [`length`].
///
/// # Errors
/// They are no message.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message> {
    if length(bytes)? != Some(bytes.len()) {
        return Err(Malformed("not a whole message"));
    }
    let mut reader = Reader::of_message(bytes)?;
    let kind = match bytes.get(1) {
        Some(2) => Kind::Reply,
        Some(3) => Kind::Error,
        Some(4) => Kind::Signal,
        Some(0) | None => return Err(Malformed("a message of no type")),
        Some(_) => Kind::Other,
    };
    reader.at = 12;
    let mut message = Message {
        kind,
        reply_to: None,
        path: String::new(),
        interface: String::new(),
        member: String::new(),
        error: String::new(),
        sender: String::new(),
        body: Vec::new(),
    };
    let mut signature = String::new();
    let Value::Array(_, fields) = reader.value("a(yv)", DEPTH)? else { return Err(Malformed("no header")) };
    for field in fields {
        let Value::Struct(field) = field else { continue };
        let [Value::Byte(code), Value::Variant(value)] = field.as_slice() else { continue };
        match (code, value.as_ref()) {
            (1, Value::Path(path)) => message.path.clone_from(path),
            (2, Value::Text(name)) => message.interface.clone_from(name),
            (3, Value::Text(name)) => message.member.clone_from(name),
            (4, Value::Text(name)) => message.error.clone_from(name),
            (5, Value::U32(serial)) => message.reply_to = Some(*serial),
            (7, Value::Text(name)) => message.sender.clone_from(name),
            (8, Value::Signature(text)) => signature.clone_from(text),
            (1..=5 | 7 | 8, _) => return Err(Malformed("a header field of another type")),
            _ => {}
        }
    }
    reader.align(8)?;
    let mut rest = signature.as_str();
    while !rest.is_empty() {
        let (one, after) = first_type(rest, DEPTH)?;
        message.body.push(reader.value(one, DEPTH)?);
        rest = after;
    }
    Ok(message)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn of_message(bytes: &'a [u8]) -> Result<Self> {
        let big_endian = match bytes {
            [b'l', _, _, VERSION, ..] => false,
            [b'B', _, _, VERSION, ..] => true,
            _ => return Err(Malformed("not a message of version 1")),
        };
        Ok(Reader { bytes, at: 0, big_endian })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        const SHORT: Malformed = Malformed("a message that ends too early");
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<()> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed("padding that is not zero")) }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| Malformed("a message that ends too early"))?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| Malformed("a length beyond all memory"))
    }

    /// Text of this length, and the NUL behind it.
    fn characters(&mut self, length: usize) -> Result<String> {
        let text = self.take(length)?;
        if self.take(1)? != [0] || text.contains(&0) {
            return Err(Malformed("a text that does not end where it says"));
        }
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    fn signature(&mut self) -> Result<String> {
        let length = self.take(1)?.first().copied().map_or(0, usize::from);
        let text = self.characters(length)?;
        if is_signature(&text) { Ok(text) } else { Err(Malformed("a signature that is none")) }
    }

    /// A value of one complete type.
    fn value(&mut self, signature: &str, depth: u32) -> Result<Value> {
        let depth = depth.checked_sub(1).ok_or(Malformed("values nested too deeply"))?;
        Ok(match signature.as_bytes() {
            b"y" => Value::Byte(u8::from_le_bytes(self.fixed()?)),
            b"b" => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Malformed("a truth value that is neither")),
            },
            b"n" => Value::I16(i16::from_le_bytes(self.fixed()?)),
            b"q" => Value::U16(u16::from_le_bytes(self.fixed()?)),
            b"i" => Value::I32(i32::from_le_bytes(self.fixed()?)),
            b"u" => Value::U32(self.u32()?),
            b"x" => Value::I64(i64::from_le_bytes(self.fixed()?)),
            b"t" => Value::U64(u64::from_le_bytes(self.fixed()?)),
            b"d" => Value::Double(u64::from_le_bytes(self.fixed()?)),
            b"s" | b"o" => {
                let length = self.size()?;
                let text = self.characters(length)?;
                match signature {
                    "s" => Value::Text(text),
                    _ if is_path(&text) => Value::Path(text),
                    _ => return Err(Malformed("an object path that is none")),
                }
            }
            b"g" => Value::Signature(self.signature()?),
            b"v" => {
                let inner = self.signature()?;
                match first_type(&inner, DEPTH)? {
                    (one, "") => Value::Variant(Box::new(self.value(one, depth)?)),
                    _ => return Err(Malformed("a variant of several values")),
                }
            }
            [b'a', ..] => self.array(signature.get(1..).unwrap_or_default(), depth)?,
            [b'(', ..] => Value::Struct(self.members(signature, depth)?),
            [b'{', ..] => match <[Value; 2]>::try_from(self.members(signature, depth)?) {
                Ok([key, value]) => Value::Entry(Box::new((key, value))),
                Err(_) => return Err(Malformed("a signature that is none")),
            },
            _ => return Err(Malformed("a signature that is none")),
        })
    }

    /// What is between the brackets of a struct's signature, or of an entry's.
    fn members(&mut self, signature: &str, depth: u32) -> Result<Vec<Value>> {
        self.align(8)?;
        let mut rest = signature.get(1..signature.len() - 1).unwrap_or_default();
        let mut members = Vec::new();
        while !rest.is_empty() {
            let (one, after) = first_type(rest, DEPTH)?;
            members.push(self.value(one, depth)?);
            rest = after;
        }
        Ok(members)
    }

    fn array(&mut self, element: &str, depth: u32) -> Result<Value> {
        let length = self.size()?;
        self.align(alignment(element))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Malformed("an array that is longer than its message"))?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth)?); // each takes a byte at least
        }
        if self.at == end {
            Ok(Value::Array(element.to_owned(), values))
        } else {
            Err(Malformed("an array that ends amid an element"))
        }
    }
}

#[cfg(test)]
mod tests;
