//! The report in a real browser, on a phone and on a desk: nothing goes wrong, and the sliders show what they say.
//!
//! Needs Chromium or Chrome, named by the variable `CHROMIUM` or found on the path; without one the test passes and
//! says so.

mod skipped;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use skipped::skipped;

fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let found = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    named.into_iter().chain(found).find(|file| file.is_file())
}

/// What `probe.html` finds in `page`, so many pixels wide, in light or dark: serves both to the browser until it posts its
/// result.
fn probe(browser: &Path, page: &str, width: usize, dark: bool) -> Value {
    let prober = include_str!("probe.html").replace("390px", &format!("{width}px"));
    let profile = tempfile::tempdir().unwrap();
    let log = profile.path().join("log");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"])
        .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // Without a port to debug it, a headless browser ends as soon as the page is loaded.
        .arg("--remote-debugging-port=0")
        .arg(format!("http://{}/", listener.local_addr().unwrap()))
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(180);
    let result = loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(result) = answer(stream, page, &prober) {
                    break Some(result);
                }
            }
            Err(_) if Instant::now() > deadline => break None,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let log = fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("CONSOLE"), "the console stays empty: {log}");
    serde_json::from_str(&result.unwrap_or_else(|| panic!("no result in three minutes: {log}"))).unwrap()
}

/// Answers one request; what was posted, if it was a post.
fn answer(mut stream: TcpStream, page: &str, prober: &str) -> Option<String> {
    stream.set_nonblocking(false).unwrap();
    // A connection that the browser opens in advance and does not use must not hold up the others.
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request).ok()?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut posted = vec![0; length];
    reader.read_exact(&mut posted).ok()?;
    let body = if request.starts_with("GET /report.html") { page } else { prober };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\nContent-Length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
    request.starts_with("POST").then(|| String::from_utf8(posted).unwrap())
}

#[test]
fn the_report_works_in_a_browser() {
    let Some(browser) = browser() else {
        return skipped("the report in a browser needs Chromium or Chrome; name one in CHROMIUM");
    };
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_iresnet"))
        // Steps so large that the vanilla network cannot be inverted.
        .args(["reproduce", "--epochs", "1", "--set", "model.blocks=[2,2]", "--set", "train.muon_rate=0.3", "--out"])
        .arg(dir.path())
        .env_remove("IRESNET_DATA")
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    for outside in ["src=", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "the page needs nothing but itself: {outside}");
    }
    // Listens before anything of the page runs.
    let listening = "<script>var problems = []; addEventListener('error', (e) => problems.push(e.message), true); \
                     console.error = console.warn = (...words) => problems.push(words.join(' '));</script>";
    let page = page.replacen("<head>", &format!("<head>{listening}"), 1);
    let light = probe(&browser, &page, 390, false);
    assert_eq!(light["failed"], Value::Null, "{light}");
    assert_eq!(light["problems"], serde_json::json!([]));
    assert_eq!(light["fetched"], serde_json::json!([]), "nothing is fetched");
    assert_eq!(light["overflow"], 0, "no sideways scrolling at 390 pixels");
    assert_eq!(light["focusable"], true);
    let (none, all) = (&light["none"], &light["all"]);
    assert_eq!((&none["count"], &all["count"]), (&"0".into(), &"100".into()));
    assert_eq!((&none["spoken"], &all["spoken"]), (&"0 iterations a block".into(), &"100 iterations a block".into()));
    assert_eq!((&none["other"], &all["other"]), (&"0".into(), &"15".into()), "the sliders go together");
    assert_ne!(none["cursor"], all["cursor"]);
    assert_eq!((&none["faithful"], &all["faithful"]), (&false.into(), &true.into()), "the picture becomes the image");
    assert!(none["error"].as_f64().unwrap() > 1e-2 && all["error"].as_f64().unwrap() < 1e-5, "{light}");
    assert_ne!(none["vanillaError"], all["vanillaError"]);
    let vanilla = all["vanillaError"].as_str().unwrap();
    assert!(vanilla == "inf" || vanilla.parse::<f64>().unwrap() > 1.0, "{light}");
    assert_eq!(all["vanillaFaithful"], false, "its picture fails");
    assert_eq!((&light["playing"], &light["ended"]), (&"Pause".into(), &"Play".into()));
    assert_eq!((&light["played"], &light["playedPicture"]), (&2.into(), &true.into()));

    let dark = probe(&browser, &page, 1280, true);
    assert_eq!(dark["failed"], Value::Null, "{dark}");
    assert_ne!(dark["background"], light["background"], "dark where the reader wants it");
    assert_eq!((&dark["overflow"], &dark["problems"]), (&0.into(), &serde_json::json!([])));
    assert_eq!(dark["all"]["faithful"], true);
}
