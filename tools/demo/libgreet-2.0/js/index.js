'use strict';

exports.greet = function (options) {
  if (typeof options !== 'object' || options === null || !options.name) {
    throw new TypeError('libgreet 2: greet({ name }) wants a name');
  }
  return (options.greeting || 'Hello') + ', ' + options.name + '!';
};
