//! The rules that every contract obeys, checked over the descriptors.
//!
//! `buf lint` checks what it knows (names, comments, packages); these rules check it without buf, and
//! what is ours: pagination, HTTP mappings, JSON fields, request ids, and our own options. Each rule
//! is also shown to catch a sample contract that was broken in one place.

mod broken;
mod calls;
mod contracts;
mod fields;
mod http;
mod names;

use contracts::Contracts;

/// A rule: its name, and what finds offenders. A finding names the offender and what is wrong.
struct Rule {
    name: &'static str,
    check: fn(&Contracts) -> Vec<String>,
}

/// Every rule.
const RULES: &[Rule] = &[
    Rule { name: "package is directory", check: names::package_is_directory },
    Rule { name: "services end in Service", check: names::services_end_in_service },
    Rule { name: "rpcs are verb and noun", check: names::rpcs_are_verb_and_noun },
    Rule {
        name: "requests and responses belong to one rpc",
        check: names::messages_belong_to_rpcs,
    },
    Rule { name: "enum values are prefixed from zero", check: names::enum_values_are_prefixed },
    Rule { name: "everything has a comment", check: names::everything_has_a_comment },
    Rule { name: "lists are paginated", check: fields::lists_are_paginated },
    Rule { name: "ids are strings", check: fields::ids_are_strings },
    Rule { name: "times are timestamps", check: fields::times_are_timestamps },
    Rule { name: "json payloads are marked", check: fields::json_payloads_are_marked },
    Rule { name: "json marks strings only", check: fields::json_marks_strings },
    Rule { name: "no schemaless well-known types", check: fields::no_schemaless_types },
    Rule { name: "every rpc has http", check: http::every_rpc_has_http },
    Rule { name: "http paths are unique", check: http::paths_are_unique },
    Rule { name: "path variables are request fields", check: http::variables_are_fields },
    Rule { name: "bodies fit", check: http::bodies_fit },
    Rule { name: "query fields can be written", check: http::query_fields_can_be_written },
    Rule { name: "reads have no side effects", check: calls::reads_have_no_side_effects },
    Rule { name: "writes can be repeated", check: calls::writes_can_be_repeated },
    Rule { name: "deadlines and drains are sane", check: calls::calls_are_sane },
    Rule { name: "http streams refer to fields", check: calls::http_streams_refer_to_fields },
    Rule { name: "unary siblings accept the same", check: calls::siblings_accept_the_same },
    Rule { name: "http bytes refer to fields", check: calls::http_bytes_refer_to_fields },
];

#[test]
fn contracts_obey_every_rule() {
    let contracts = Contracts::new(cortex_proto::descriptor_pool());
    assert!(contracts.services().len() > 10, "the descriptor set holds the contracts");
    let findings = findings(&contracts);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn the_sample_obeys_every_rule() {
    let pool = broken::compile(broken::SAMPLE);
    let findings = findings(&Contracts::new(&pool));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_rule_catches_its_offenders() {
    for offence in broken::OFFENCES {
        let pool = broken::compile(&offence.commit());
        let findings = findings(&Contracts::new(&pool));
        let expected = format!("[{}] {}", offence.rule, offence.finding);
        assert!(
            findings.contains(&expected),
            "expected: {expected}\nfound:\n{}",
            findings.join("\n")
        );
    }
}

#[test]
fn every_rule_is_shown_to_fail() {
    let shown = |rule: &&Rule| broken::OFFENCES.iter().any(|offence| offence.rule == rule.name);
    let missing: Vec<_> = RULES.iter().filter(|rule| !shown(rule)).map(|rule| rule.name).collect();
    assert!(missing.is_empty(), "no offence shows that these can fail: {missing:?}");
}

/// What every rule finds, as `[rule] offender: what is wrong`.
fn findings(contracts: &Contracts) -> Vec<String> {
    let of = |rule: &Rule| {
        let found = (rule.check)(contracts).into_iter();
        found.map(|finding| format!("[{}] {finding}", rule.name)).collect::<Vec<_>>()
    };
    RULES.iter().flat_map(of).collect()
}
