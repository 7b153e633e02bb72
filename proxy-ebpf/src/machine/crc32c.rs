//! Changes of `CRC32c` (RFC 9260, appendix A), by which SCTP protects a packet: without reading it.
//!
//! A CRC is linear: the one of a packet in which some bits changed differs by that of these bits alone, and that depends on what
//! changed and on how many bytes follow, whatever they are. Each bit is a power of x modulo the polynomial, as in zlib's
//! `crc32_combine` (<https://github.com/madler/zlib/blob/v1.3.1/crc32.c#L176>).

/// The polynomial without its highest power; bit 31 is x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 8, 16, 32 and so on: what so many zero bytes multiply by.
const ZEROS: [u32; LENGTH_BITS] = zeros();
/// Bits of the length of an IP packet.
const LENGTH_BITS: usize = 16;

const fn zeros() -> [u32; LENGTH_BITS] {
    let mut powers = [0x0080_0000; LENGTH_BITS];
    let mut bit = 1;
    while bit < LENGTH_BITS {
        powers[bit] = product(powers[bit - 1], powers[bit - 1]);
        bit += 1;
    }
    powers
}

/// A product modulo the polynomial.
const fn product(mut one: u32, mut other: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        product ^= other & all_or_none(one >> 31);
        one <<= 1;
        other = (other >> 1) ^ (POLYNOMIAL & all_or_none(other & 1));
        bit += 1;
    }
    product
}

const fn all_or_none(bit: u32) -> u32 {
    0_u32.wrapping_sub(bit)
}

/// Bits of a digit: a table has a line for each value of one.
const DIGIT: usize = 4;
/// Products with one number, by each digit of the other.
type Products = [[u32; 1 << DIGIT]; 32 / DIGIT];
/// Products with x to the power of 32, and with what each bit of a length stands for.
static PRODUCTS: [Products; LENGTH_BITS + 1] = all_products();

const fn all_products() -> [Products; LENGTH_BITS + 1] {
    // x to the power of 32: the four bytes themselves.
    let mut all = [products(ZEROS[2]); LENGTH_BITS + 1];
    let mut bit = 0;
    while bit < LENGTH_BITS {
        all[bit + 1] = products(ZEROS[bit]);
        bit += 1;
    }
    all
}

const fn products(one: u32) -> Products {
    let mut products = [[0; 1 << DIGIT]; 32 / DIGIT];
    let mut place = 0;
    while place < 32 / DIGIT {
        let mut digit = 0;
        while digit < 1 << DIGIT {
            products[place][digit] = product(one, (digit as u32) << (place * DIGIT));
            digit += 1;
        }
        place += 1;
    }
    products
}

/// A product, by the table of one of its factors: exclusive or goes into each digit by itself.
#[inline(always)]
fn multiply(products: &Products, other: u32) -> u32 {
    let mut product = 0;
    for (place, digits) in products.iter().enumerate() {
        product ^= digits[(other >> (place * DIGIT)) as usize & ((1 << DIGIT) - 1)];
    }
    product
}

/// By what the CRC of a packet changes, as it stands in the packet, when four of its bytes, as they stand there, change by
/// `change` (exclusive or) and `after` bytes follow them.
#[inline(always)]
pub fn difference(change: u32, after: u32) -> u32 {
    crc32c_difference(change, after)
}

/// A global function: the verifier looks at it once, for any numbers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn crc32c_difference(change: u32, after: u32) -> u32 {
    let [own, zeros @ ..] = &PRODUCTS;
    let mut difference = multiply(own, u32::from_le(change));
    for (bit, products) in zeros.iter().enumerate() {
        if after >> bit & 1 != 0 {
            difference = multiply(products, difference);
        }
    }
    difference.to_le()
}
