//! The test store as a process of its own, for tests with worker processes and containers.
//!
//! `s3-test-server --listen 127.0.0.1:9000 --bucket colony [--ignore-if-none-match] [--racy]`; the key and the secret
//! are those of [`S3Options::default`], or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Prints one line,
//! `listening on http://…`, when it can be asked.

use std::{env, process::ExitCode};

use apiary_tests::s3_server::{S3Options, S3Server};

fn main() -> ExitCode {
    match options(env::args().skip(1)).and_then(|options| S3Server::try_start(options).map_err(|e| e.to_string())) {
        Ok(server) => {
            #[expect(clippy::print_stdout, reason = "the line that whoever starts the process waits for")]
            {
                println!("listening on {}", server.url);
            }
            server.wait();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("s3-test-server: {why}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<S3Options, String> {
    let mut options = S3Options::default();
    if let (Ok(key), Ok(secret)) = (env::var("AWS_ACCESS_KEY_ID"), env::var("AWS_SECRET_ACCESS_KEY")) {
        (options.access_key, options.secret_key) = (key, secret);
    }
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--listen" => options.listen = value()?.parse().map_err(|_| "--listen takes address:port".to_owned())?,
            "--bucket" => options.bucket = value()?,
            "--ignore-if-none-match" => options.ignore_if_none_match = true,
            "--racy" => options.racy = true,
            _ => return Err(format!("'{arg}' is not known; use --listen, --bucket, --ignore-if-none-match, --racy")),
        }
    }
    Ok(options)
}
