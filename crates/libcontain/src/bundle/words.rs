//! Words of the config's enums: which there are, and how runc refuses others.

use serde::de::{self, IntoDeserializer, Visitor};
use std::fmt;

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

/// An enum's word.
pub(super) struct Word<V> {
    /// The type that the member belongs to.
    pub owner: &'static str,
    /// The enum.
    pub name: &'static str,
    pub variants: &'static [&'static str],
    pub visitor: V,
}

impl<V> Word<V> {
    /// The spec's word for a variant.
    fn spelt(&self, variant: &'static str) -> &'static str {
        let row = SPELLINGS.iter().find(|(name, _, ours)| *name == self.name && *ours == variant);
        row.map_or(variant, |(_, spec, _)| spec)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Word<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<V::Value, E> {
        if let Some(variant) = self.variants.iter().find(|variant| self.spelt(variant) == word) {
            return self.visitor.visit_enum((*variant).into_deserializer());
        }
        let row = WORDS.iter().find(|(name, _)| *name == self.owner || *name == self.name);
        let pattern = match row {
            _ if word.is_empty() && self.name == NO_WORD.0 => NO_WORD.1,
            Some((_, text)) => text,
            None => "unknown word \"@\"",
        };
        let mut text = pattern.replacen('@', &super::shown(word), 1);
        if self.variants.len() <= 16 {
            text = format!(
                "{text}, expected one of {}",
                self.variants.iter().map(|v| self.spelt(v)).collect::<Vec<_>>().join(", ")
            );
        }
        Err(E::custom(text))
    }
}
