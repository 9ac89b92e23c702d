mod attacks;
mod here;
mod out;
mod smtp_line;
