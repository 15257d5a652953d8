/** QR codes, in a file of their own: who opens a page seldom needs one. */
export { encode } from "uqr";
