//! `proxyctl cni status`: whether the plugin is installed, and can serve an ADD.

use cni_plugin::paths::Paths;
use serde::Serialize;

use crate::{
    config::Cni,
    ctl::{
        Context, CtlError, Exit,
        args::{CheckArgs, CniStatusArgs},
        check::{
            Category, Report, Topic, Verdict, others, plugin, print,
            scene::configuration,
            wiring::{self, Facts},
        },
        output::Output,
    },
};

/// What programs get.
#[derive(Debug, Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(flatten)]
    report: &'a Report,
}

/// Looks, and prints it.
pub(super) async fn run(
    context: &Context,
    args: &CniStatusArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let asked = CheckArgs {
        config: args.config.clone(),
        ..CheckArgs::default()
    };
    let told = configuration(context, &asked, true).await;
    if let Some(wrong) = told.wrong {
        let hint = "name the agent's file: --config FILE; else `proxy-agent config print` says what is wrong with it";
        return Err(CtlError::new(Exit::Failed, wrong, hint));
    }
    // The socket is in there: it is the agent's folder, whatever that calls it.
    let (cni, run_dir) = (&told.here.cni, &context.common.run_dir);
    let facts = Facts::look(cni, &Paths::new(run_dir));
    let report = Report::of(false, judge(cni, &facts).into_iter());
    let status = Status {
        facts: &facts,
        report: &report,
    };
    out.object("CniStatus", &status, |to| print::write(&report, to))?;
    Ok(report.exit(args.fail_on_warning))
}

const fn topic(name: &'static str, category: Category) -> Topic {
    Topic { name, category }
}

fn judge(cni: &Cni, facts: &Facts) -> Vec<(Topic, Verdict)> {
    let elsewhere = || Verdict::unknown("not looked at: cni.install is off");
    let of = |look: &dyn Fn() -> Verdict| if cni.install { look() } else { elsewhere() };
    vec![
        (
            topic("installed", Category::Plugin),
            of(&|| plugin::judge(cni, wiring::is_broken(facts))),
        ),
        (
            topic("version", Category::Plugin),
            of(&|| wiring::version(facts)),
        ),
        (
            topic("first", Category::Plugin),
            of(&|| others::preferred(cni)),
        ),
        (topic("run folder", Category::Plugin), wiring::folder(facts)),
        (
            topic("attachments", Category::Plugin),
            wiring::attachments(facts),
        ),
        (topic("addresses", Category::Plugin), wiring::pools(facts)),
        (topic("node.json", Category::Agent), wiring::node(facts)),
        (
            topic("heartbeat", Category::Agent),
            wiring::heartbeat(facts),
        ),
    ]
}
