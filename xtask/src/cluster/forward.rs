//! Lets programs on the host reach the API server, without a link or a route on the host.
//!
//! A socket stays in the network namespace that it was made in: this process listens on the host's loopback,
//! then moves into the fabric, and connects from there.

use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

use super::lab::{API_PORT, Lab};
use super::{kubeconfig, place, wait};

/// Starts the forwarder in the background.
pub(crate) fn start(lab: &Lab) -> Result<()> {
    let own = std::env::current_exe().context("cannot find our own program")?;
    let args = ["cluster".to_owned(), "forward".to_owned()];
    place::Place::host(lab).daemon("forward", &own, &args, None)?;
    let written: PathBuf = lab.file("kubeconfig");
    wait::until("the API server's forwarder", || Ok(written.exists()))
}

/// The forwarder itself; ends with its cgroup.
pub(crate) fn run(lab: &Lab) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let namespace = lab.namespaces().join("fabric.net");
    let file =
        File::open(&namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    setns(&file, CloneFlags::CLONE_NEWNET).context("cannot enter the fabric")?;
    let host = lab.must_be_up()?.api_host();
    kubeconfig::write_for_host(lab, listener.local_addr()?.port())?;
    for client in listener.incoming() {
        let client = client.context("cannot accept a connection")?;
        let host = host.clone();
        thread::spawn(move || drop(join(client, &host)));
    }
    Ok(())
}

/// Copies both ways until both are done; an error on either side ends the connection, as it should.
fn join(client: TcpStream, host: &str) -> io::Result<()> {
    let server = TcpStream::connect((host, API_PORT))?;
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || copy(from_client, to_server));
    let down = copy(server, client);
    let joined = up.join();
    down.and(joined.unwrap_or(Ok(())))
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    copied.map(drop)
}
