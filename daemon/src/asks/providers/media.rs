//! Facts of a file: its type by its content, when a picture was taken, and a small picture of it.

use hither_proto::AskKind;
use hither_proto::limits::MAX_THUMBNAIL;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageReader, Limits};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

/// Bytes that tell the type of a file.
const BEGINNING: u64 = 8192;
/// Longest side of a small picture, pixels.
const SIDE: u32 = 160;
/// Widest and highest picture that is opened, pixels.
const MAX_SIDE: u32 = 20_000;
/// Most memory for opening a picture, bytes.
const MAX_MEMORY: u64 = 256 << 20;
/// Longest picture file that is opened, bytes.
const MAX_FILE: u64 = 64 << 20;

/// Endings of names by which files of a kind are looked at.
const fn endings(kind: AskKind) -> &'static [&'static str] {
    match kind {
        AskKind::Photo => &[
            "jpg", "jpeg", "png", "heic", "heif", "webp", "gif", "tif", "tiff", "avif", "bmp",
        ],
        AskKind::Video => &["mp4", "mkv", "mov", "webm", "avi", "m4v", "3gp"],
        AskKind::Audio => &[
            "mp3", "ogg", "oga", "opus", "flac", "wav", "m4a", "aac", "amr",
        ],
        _ => &[],
    }
}

/// Returns whether a file of this name may be of a kind.
pub(super) fn may_be(kind: AskKind, name: &str) -> bool {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_lowercase());
    match endings(kind) {
        [] => true,
        known => ending.is_some_and(|ending| known.contains(&ending.as_str())),
    }
}

/// Returns whether a media type is of a kind.
pub(super) fn is_of(kind: AskKind, media_type: &str) -> bool {
    match kind {
        AskKind::Photo => media_type.starts_with("image/"),
        AskKind::Video => media_type.starts_with("video/"),
        // Containers of films hold recordings too.
        AskKind::Audio => media_type.starts_with("audio/") || media_type == "video/mp4",
        _ => true,
    }
}

/// The media type of a file by how it begins; text is told from its content too.
pub(super) fn type_of(path: &Path, name: &str) -> String {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    if read.is_err() {
        return String::new();
    }
    match infer::get(&beginning) {
        Some(kind) => kind.mime_type().to_owned(),
        None if std::str::from_utf8(&beginning).is_ok() && !name.is_empty() => "text/plain".into(),
        None => "application/octet-stream".into(),
    }
}

/// When a picture was taken by what its EXIF says, Unix milliseconds.
pub(super) fn taken_ms(path: &Path, media_type: &str) -> Option<u64> {
    if !media_type.starts_with("image/") {
        return None;
    }
    let mut file = BufReader::new(File::open(path).ok()?.take(MAX_FILE));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let exif = exif::Reader::new()
        .read_from_container(&mut Cursor::new(bytes))
        .ok()?;
    let field = exif.get_field(exif::Tag::DateTimeOriginal, exif::In::PRIMARY)?;
    let exif::Value::Ascii(texts) = &field.value else {
        return None;
    };
    let at = exif::DateTime::from_ascii(texts.first()?).ok()?;
    let date = chrono::NaiveDate::from_ymd_opt(at.year.into(), at.month.into(), at.day.into())?;
    let time = date.and_hms_opt(at.hour.into(), at.minute.into(), at.second.into())?;
    // Cameras write the local time of where they are, most often without saying where that is.
    let local = time.and_local_timezone(chrono::Local).earliest()?;
    u64::try_from(local.timestamp_millis()).ok()
}

/// A small picture (JPEG) of a picture; empty where none can be made.
pub(in crate::asks) fn thumbnail(path: &Path, media_type: &str) -> Vec<u8> {
    if !media_type.starts_with("image/") {
        return Vec::new();
    }
    small(path).unwrap_or_default()
}

fn small(path: &Path) -> Option<Vec<u8>> {
    let picture = open(path)?.thumbnail(SIDE, SIDE).to_rgb8();
    for quality in [80, 50, 20] {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(&picture)
            .ok()?;
        if bytes.len() <= MAX_THUMBNAIL {
            return Some(bytes);
        }
    }
    None
}

/// Opens a picture within bounds.
pub(super) fn open(path: &Path) -> Option<image::DynamicImage> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() > MAX_FILE {
        return None;
    }
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .ok()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    reader.decode().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_that_of_the_content() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.mp3");
        image::RgbImage::from_pixel(300, 200, image::Rgb([9, 9, 9]))
            .save_with_format(&path, image::ImageFormat::Png)
            .unwrap();
        let media_type = type_of(&path, "a.mp3");
        assert_eq!(media_type, "image/png");
        assert!(is_of(AskKind::Photo, &media_type) && !is_of(AskKind::Audio, &media_type));
        let small = thumbnail(&path, &media_type);
        let opened = image::load_from_memory(&small).unwrap();
        assert!(opened.width() <= SIDE && opened.height() <= SIDE && small.len() <= MAX_THUMBNAIL);
        assert!(thumbnail(&path, "text/plain").is_empty());
        std::fs::write(&path, "words").unwrap();
        assert_eq!(type_of(&path, "a.mp3"), "text/plain");
        assert!(
            thumbnail(&path, "image/png").is_empty(),
            "no picture is no error"
        );
    }

    #[test]
    fn a_picture_too_large_is_not_opened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("wide.png");
        image::RgbImage::from_pixel(MAX_SIDE + 1, 1, image::Rgb([9, 9, 9]))
            .save_with_format(&path, image::ImageFormat::Png)
            .unwrap();
        assert!(open(&path).is_none());
    }
}
