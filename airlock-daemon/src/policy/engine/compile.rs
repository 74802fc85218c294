//! From sources to something that can be run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::program::Program;
use regorus::rvm::vm::RegoVM;
use regorus::unstable::{Module, Ref};
use regorus::{Engine, Value};

use crate::policy::bundle::{Bundle, PolicyFile};
use crate::policy::error::PolicyError;
use crate::policy::lint::clear::ArgumentsRead;
use crate::policy::lint::{assigned, closed, hazards, negated, undefined};
use crate::policy::package::{ENTRY_PACKAGE, PACKAGE};
use crate::policy::syntax;
use crate::policy::syntax::cycles::CallGraph;
use crate::policy::syntax::depends::Depends;
use crate::policy::syntax::strict::{Calls, strict};
use crate::policy::syntax::unnamed::{ALLOWED_BY, Unnamed};

/// The question to the engine.
pub(in crate::policy) const ENTRY_POINT: &str = "data.airlock_entry.decision";
const OUTPUTS: [&str; 5] = ["allow", "deny", "rule_id", "reason", "obligations"];

/// A policy ready to run.
pub(in crate::policy) enum Compiled {
    /// Bytecode, shared by all workers.
    Bytecode {
        /// The program.
        program: Arc<Program>,
        /// The `data` document.
        data: Value,
        /// Where its calls stand.
        calls: Arc<Calls>,
    },
    /// A prepared interpreter, cloned by each worker: slower, but with every error reported.
    Interpreter(Box<Engine>),
}

/// A compiled bundle and what is known of it.
pub(in crate::policy) struct Built {
    /// The program that runs.
    pub(in crate::policy) compiled: Compiled,
    /// Why it is not bytecode.
    pub(in crate::policy) fallback: Option<String>,
    /// The parts of the input that its answers may depend on.
    pub(in crate::policy) reads: Depends,
    /// The parts of the arguments that it looks at.
    pub(in crate::policy) arguments: ArgumentsRead,
    /// Where its rules stand that have no name.
    pub(in crate::policy) unnamed: Unnamed,
}

/// Compiles a bundle.
///
/// # Errors
/// Names file, line and column, the reason and the remedy.
pub(in crate::policy) fn compile(bundle: &Bundle) -> Result<Built, PolicyError> {
    // The parser and the compilers see text that nobody has checked; a panic there must not end a running
    // daemon.
    catch_unwind(AssertUnwindSafe(|| compile_unguarded(bundle)))
        .unwrap_or_else(|_| {
            Err(PolicyError::at(
                &bundle.root,
                "the policy engine failed while compiling",
                "the log holds the engine's message; simplify the policy that changed last",
            ))
        })
        .map_err(|error| bundle.show(error))
}

/// The same bundle for the interpreter, because of `fallback`, or to compare the two.
///
/// # Errors
/// As [`compile`].
pub(in crate::policy) fn interpreted(bundle: &Bundle, fallback: &str) -> Result<Built, PolicyError> {
    interpreted_unshown(bundle, fallback).map_err(|error| bundle.show(error))
}

fn interpreted_unshown(bundle: &Bundle, fallback: &str) -> Result<Built, PolicyError> {
    let mut engine = parse(bundle.policies.iter())?;
    gate(&bundle.root, &mut engine)?;
    let fail = |error: &dyn std::fmt::Display| PolicyError::from_rego(&bundle.root, &error.to_string());
    engine.add_data(bundle.data.clone()).map_err(|error| fail(&error))?;
    let (reads, arguments) = (Depends::of(engine.get_modules()), ArgumentsRead::of(engine.get_modules()));
    let unnamed = Unnamed::of(&mut engine, &bundle.root);
    engine.compile_with_entrypoint(&ENTRY_POINT.into()).map_err(|error| fail(&error))?;
    let compiled = Compiled::Interpreter(Box::new(engine));
    Ok(Built { compiled, fallback: Some(fallback.to_owned()), reads, arguments, unnamed })
}

/// Refuses a bundle that the interpreter, needed because of `reason`, would get wrong.
///
/// # Errors
/// Names the rule.
pub(in crate::policy) fn refuse_in_interpreter(bundle: &Bundle, reason: &str) -> Result<(), PolicyError> {
    undefined::refuse_in_interpreter(parse(bundle.policies.iter())?.get_modules(), reason)
        .map_err(|error| bundle.show(error))
}

/// Parses sources into a fresh engine.
pub(in crate::policy) fn parse<'a>(
    sources: impl Iterator<Item = &'a PolicyFile>,
) -> Result<Engine, PolicyError> {
    let mut engine = Engine::new();
    for source in sources {
        engine
            .add_policy(source.path.display().to_string(), source.text.clone())
            .map_err(|error| PolicyError::from_rego(&source.path, &error.to_string()))?;
    }
    Ok(engine)
}

/// The checks that every bundle must pass before any of it runs.
pub(in crate::policy) fn gate(root: &Path, engine: &mut Engine) -> Result<CallGraph, PolicyError> {
    let modules = engine.get_modules();
    for module in modules {
        if syntax::static_path(&module.package.refr).first().is_some_and(|name| name == ENTRY_PACKAGE) {
            return Err(PolicyError::new(
                syntax::place(&module.package.span),
                format!("the package `{ENTRY_PACKAGE}` is reserved"),
                "choose another package name",
            ));
        }
    }
    below_an_output(modules)?;
    let declares = |output: &str| {
        modules.iter().any(|module| {
            let package = syntax::static_path(&module.package.refr);
            module.policy.iter().any(|rule| {
                package
                    .iter()
                    .chain(&syntax::static_path(syntax::head(rule)))
                    .eq(PACKAGE.iter().chain([&output]))
                    && syntax::parameters(rule).is_empty()
            })
        })
    };
    if !declares("allow") {
        return Err(PolicyError::at(
            root,
            "no rule `allow` in a package `airlock.authz`",
            "add `package airlock.authz`, `default allow := false` and rules `allow if { … }`",
        ));
    }
    hazards::refuse(modules)?;
    undefined::refuse(modules)?;
    let graph = CallGraph::new(modules);
    graph.check()?;
    closed::refuse(modules)?;
    let entry = entry_module(&OUTPUTS.map(|output| (output, declares(output))));
    engine
        .add_policy("airlock_entry".into(), entry)
        .map_err(|error| PolicyError::from_rego(root, &error.to_string()))?;
    Ok(graph)
}

/// Refuses rules below an output, such as `deny.secrets contains …` or those of a package
/// `airlock.authz.deny`: the output is asked for as a whole, and what is written so would never be heard.
fn below_an_output(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    for module in modules {
        let package = syntax::static_path(&module.package.refr);
        for rule in &module.policy {
            let mut path = package.clone();
            path.extend(syntax::static_path(syntax::head(rule)));
            let output = path.strip_prefix(&PACKAGE.map(str::to_owned)).and_then(|below| below.first());
            if let Some(output) = output.filter(|output| OUTPUTS.contains(&output.as_str()))
                && path.len() > PACKAGE.len() + 1
            {
                return Err(PolicyError::new(
                    syntax::place(rule.span()),
                    format!("`{}` stands below `{output}`, where nobody would ask for it", path.join(".")),
                    format!("write it as a definition of `{output}` itself, in the package `airlock.authz`"),
                ));
            }
        }
    }
    Ok(())
}

fn compile_unguarded(bundle: &Bundle) -> Result<Built, PolicyError> {
    let mut engine = parse(bundle.policies.iter())?;
    let graph = gate(&bundle.root, &mut engine)?;
    negated::refuse(engine.get_modules(), &bundle.data)?;
    let fail = |error: &dyn std::fmt::Display| PolicyError::from_rego(&bundle.root, &error.to_string());
    engine.add_data(bundle.data.clone()).map_err(|error| fail(&error))?;
    let (reads, arguments) = (Depends::of(engine.get_modules()), ArgumentsRead::of(engine.get_modules()));
    let calls = Arc::new(Calls::of(engine.get_modules()));
    let needed = hazards::needs_interpreter(engine.get_modules(), &graph);
    let mended = assigned::mend(engine.get_modules(), &bundle.policies);
    // The checks of the bundle end here: modules that are added from here on stand in none of its files.
    let written = engine.get_modules().clone();
    let unnamed = Unnamed::of(&mut engine, &bundle.root);
    let compiled = match &mended {
        Ok(Some(sources)) => {
            let mut mended = parse(sources.iter())?;
            gate(&bundle.root, &mut mended)?;
            Unnamed::of(&mut mended, &bundle.root);
            mended.add_data(bundle.data.clone()).map_err(|error| fail(&error))?;
            // The interpreter runs what was written.
            engine.compile_with_entrypoint(&ENTRY_POINT.into()).map_err(|error| fail(&error))?;
            mended.compile_with_entrypoint(&ENTRY_POINT.into())
        }
        Ok(None) | Err(_) => engine.compile_with_entrypoint(&ENTRY_POINT.into()),
    };
    let compiled = compiled.map_err(|error| fail(&error))?;
    let program = Compiler::compile_from_policy(&compiled, &[ENTRY_POINT]).map_err(|error| error.to_string());
    if let Err(error) = &program
        && error.contains("Unknown function")
    {
        // The interpreter would find out only when a call comes.
        return Err(fail(error));
    }
    let program =
        program.and_then(|program| strict(program).ok_or_else(|| "a builtin cannot be wrapped".to_owned()));
    let program = mended.and(program);
    let program = match (needed, program) {
        (None, Ok(program)) => program,
        (Some(reason), _) | (None, Err(reason)) => {
            undefined::refuse_in_interpreter(&written, &reason)?;
            let compiled = Compiled::Interpreter(Box::new(engine));
            return Ok(Built { compiled, fallback: Some(reason), reads, arguments, unnamed });
        }
    };
    let mut vm = RegoVM::new();
    vm.load_program(program.clone());
    vm.set_data(bundle.data.clone()).map_err(|error| fail(&error))?;
    let compiled = Compiled::Bytecode { program, data: bundle.data.clone(), calls };
    Ok(Built { compiled, fallback: None, reads, arguments, unnamed })
}

/// One module that gathers all outputs, so that one evaluation gives one consistent answer. `false` stands
/// for an undefined rule: inside a literal the engine does not treat "undefined" as Rego wants, so none may
/// get there.
fn entry_module(outputs: &[(&str, bool)]) -> String {
    let mut source = format!("package {ENTRY_PACKAGE}\nimport rego.v1\n");
    for (output, declared) in outputs {
        source.extend(["default ", output, " := false\n"]);
        if *declared {
            source.extend([output, " := data.airlock.authz.", output, "\n"]);
        } else if *output == "rule_id" {
            source.extend([output, " := min(data.airlock.authz.", ALLOWED_BY, ")\n"]);
        }
    }
    source.push_str("decision := [allow, deny, rule_id, reason, obligations]\n");
    source
}
