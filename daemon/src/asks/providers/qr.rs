//! QR codes on pictures.

use super::media;
use image::imageops::FilterType;
use std::path::Path;

/// Longest side of a picture that is searched as it is, pixels; larger ones are made smaller.
const MAX_SIDE: u32 = 2000;

/// The words of the first code on a picture. A code of few pixels is looked for at twice its size.
pub(super) fn read(path: &Path) -> Option<String> {
    let picture = media::open(path)?;
    let picture = if picture.width().max(picture.height()) > MAX_SIDE {
        picture.thumbnail(MAX_SIDE, MAX_SIDE)
    } else {
        picture
    };
    let grey = picture.to_luma8();
    search(grey.clone()).or_else(|| {
        let (width, height) = (grey.width() * 2, grey.height() * 2);
        search(image::imageops::resize(
            &grey,
            width,
            height,
            FilterType::Triangle,
        ))
    })
}

fn search(grey: image::GrayImage) -> Option<String> {
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        grey.get_pixel(x as u32, y as u32).0[0]
    });
    let codes = prepared.detect_grids();
    codes.iter().find_map(|code| Some(code.decode().ok()?.1))
}
