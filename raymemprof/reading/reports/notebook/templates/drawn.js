((id) => {
  // Puts the picture itself in place of the image, so that it follows the notebook's theme and says what a shape is.
  for (const place of document.querySelectorAll(`[data-raymemprof="${id}"]:not([data-drawn])`)) {
    place.dataset.drawn = "";
    const image = place.querySelector("img");
    const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (character) => character.charCodeAt(0));
    const text = new TextDecoder().decode(bytes);
    const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
    const follow = () => {
      const [red, green, blue] = getComputedStyle(place).color.match(/[\d.]+/g).map(Number);
      svg.dataset.theme = 0.3 * red + 0.6 * green + 0.1 * blue > 128 ? "dark" : "light";
    };
    follow();
    image.replaceWith(svg);
    // The theme may be changed later: the text's colour changes, in view or while it is out of view.
    place.style.transition = "color 1ms";
    for (const end of ["transitionend", "transitioncancel"]) place.addEventListener(end, follow);
    new IntersectionObserver(follow).observe(place);
  }
})
