//! The icons: strokes on a 24 × 24 grid in the text's colour. Made by the DOM, since the content
//! security policy and the wish for one request less both speak against image files.

const NAMESPACE = "http://www.w3.org/2000/svg";

const SHAPES = {
  microphone: ["M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z", "M5.5 11a6.5 6.5 0 0 0 13 0", "M12 17.5V21"],
  headphones: ["M4 15v-3a8 8 0 0 1 16 0v3", "M4 14.5h2.2a1 1 0 0 1 1 1V19a1 1 0 0 1-1 1H6a2 2 0 0 1-2-2z", "M20 14.5h-2.2a1 1 0 0 0-1 1V19a1 1 0 0 0 1 1h.2a2 2 0 0 0 2-2z"],
  camera: ["M5 6.5h8a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z", "M15 11l6-3.5v9L15 13"],
  screen: ["M5 4.5h14a2 2 0 0 1 2 2V15a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V6.500a2 2 0 0 1 2-2z", "M8.500 20.500h7", "M12 13.500V8", "M9.500 10.300L12 7.800l2.500 2.500"],
  leave: ["M3.200 14.200c4.900-5 12.700-5 17.600 0 .4.4.4 1 0 1.400l-1.700 1.700a1 1 0 0 1-1.200.2l-2.300-1.300a1 1 0 0 1-.5-.9v-1.700a9.600 9.600 0 0 0-6.200 0v1.700a1 1 0 0 1-.5.9l-2.300 1.300a1 1 0 0 1-1.200-.2l-1.700-1.700a1 1 0 0 1 0-1.400z"],
  settings: ["M4 7h9.500", "M18.500 7H20", "M16 4.700a2.300 2.300 0 1 1 0 4.600 2.300 2.300 0 0 1 0-4.600z", "M4 17h1.500", "M10.500 17H20", "M8 14.700a2.300 2.300 0 1 1 0 4.600 2.300 2.300 0 0 1 0-4.600z"],
  hash: ["M5 9h15", "M4 15h15", "M10 4L8 20", "M16 4l-2 16"],
  speaker: ["M4 9.800v4.400h3.300L12 18V6L7.300 9.800z", "M15.300 9.200a4 4 0 0 1 0 5.600", "M17.900 6.700a7.600 7.600 0 0 1 0 10.600"],
  people: ["M9 4.800a3.200 3.200 0 1 1 0 6.400 3.200 3.200 0 0 1 0-6.400z", "M3.300 19.200a5.700 5.700 0 0 1 11.400 0", "M15.600 5.200a3 3 0 0 1 0 5.600", "M17.200 14a5.600 5.600 0 0 1 3.500 5.200"],
  invite: ["M10 4.800a3.200 3.200 0 1 1 0 6.400 3.200 3.200 0 0 1 0-6.400z", "M4.300 19.200a5.700 5.700 0 0 1 11.400 0", "M19 7.500v5", "M16.500 10h5"],
  send: ["M4.500 5.200l15.300 6.800-15.300 6.800 2.200-6.800z", "M6.700 12h6.500"],
  plus: ["M12 5v14", "M5 12h14"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h16"],
  copy: ["M9.500 8.500h8a1.500 1.500 0 0 1 1.500 1.500v8.500a1.500 1.500 0 0 1-1.500 1.500h-8A1.500 1.500 0 0 1 8 18.500V10a1.500 1.500 0 0 1 1.500-1.500z", "M15.500 8.500V6A1.500 1.500 0 0 0 14 4.500H6.500A1.500 1.500 0 0 0 5 6v8.500A1.500 1.500 0 0 0 6.500 16H8"],
  expand: ["M9 4H4v5", "M15 4h5v5", "M9 20H4v-5", "M15 20h5v-5"],
  focus: ["M4 5.500h16v9H4z", "M4 18.500h4", "M10 18.500h4", "M16 18.500h4"],
  grid: ["M4.500 5h6v6h-6z", "M13.500 5h6v6h-6z", "M4.500 13.500h6v6h-6z", "M13.500 13.500h6v6h-6z"],
  chevron: ["M7 10l5 5 5-5"],
  warning: ["M12 4.500l8.500 15h-17z", "M12 10.500v4", "M12 17.200v.1"],
  check: ["M5 12.500l4.500 4.500L19 7.500"],
  chat: ["M5 5h14a1.500 1.500 0 0 1 1.500 1.500V15a1.500 1.500 0 0 1-1.500 1.500h-7L7.500 20v-3.500H5A1.500 1.500 0 0 1 3.500 15V6.500A1.500 1.500 0 0 1 5 5z"],
  exit: ["M10 4.500H6A1.500 1.500 0 0 0 4.500 6v12A1.500 1.500 0 0 0 6 19.500h4", "M14.500 8l4 4-4 4", "M18.500 12H9.500"],
  down: ["M12 5v13", "M6.500 12.500L12 18l5.500-5.500"],
  crown: ["M4 17.500L3.500 8l4.800 3.500L12 6l3.700 5.500L20.500 8l-.5 9.500z"],
  wave: ["M5 10.500v3", "M9.700 7v10", "M14.300 5v14", "M19 9.500v5"],
};

/** An icon by name; `struck` draws a line through it (off, muted). */
export function icon(name, { struck = false } = {}) {
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const shapes = struck ? [...SHAPES[name], "M4.500 4.500l15 15"] : SHAPES[name];
  for (const shape of shapes) {
    const path = document.createElementNS(NAMESPACE, "path");
    path.setAttribute("d", shape);
    svg.append(path);
  }
  return svg;
}
